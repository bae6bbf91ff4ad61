//! Further events, as a projector applies them.

use std::{sync::atomic::AtomicU64, time::Instant};

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use weft_model::{Event, Stream};
use weft_readmodel::{Batch, Location, ReadModel};

use crate::{
    PARTITIONS, fill,
    generated::{self, FEEDS, Numbers},
};

/// Messages of each partition in one transaction.
const EACH: u64 = 250;
const TRANSACTIONS: u64 = 40;
/// Messages of each partition that are kept aside.
const KEPT_EACH: u64 = 12_500;
/// Records of the small read model.
const FEW: u64 = 2_000;

/// Registers the feeds, and has messages of them that are kept and not projected.
pub(crate) async fn set_aside(model: &ReadModel, records: u64) {
    let registered = (0..FEEDS).map(|feed| generated::registered(generated::feed(feed))).collect();
    let control = Stream::Control.partition(0);
    model.apply_once(vec![Batch::new(control, model.known_at().size(control), registered)]).await.unwrap();
    let numbers = Numbers(AtomicU64::new(1));
    for _ in 0..KEPT_EACH / EACH {
        let kept = batches(model, |n, partition| {
            generated::quarantined(n, numbers.below(records / PARTITIONS) * PARTITIONS + partition, &numbers)
        });
        model.apply_once(kept).await.unwrap();
    }
}

/// How fast messages about anybody are taken in, and about few, beside a read model of these few.
pub(crate) async fn compare(url: &str, large: &ReadModel, records: u64) {
    const SMALL: &str = "large_small";
    let mut conn = PgConnection::connect(url).await.unwrap();
    let remove = format!("DROP SCHEMA IF EXISTS {SMALL} CASCADE");
    sqlx::raw_sql(AssertSqlSafe(remove.clone())).execute(&mut conn).await.unwrap();
    let location = Location::Postgres { url: url.to_owned(), schema: SMALL.to_owned() };
    fill(&location, FEW, 1).await;
    let small = ReadModel::open(location).await.unwrap();
    // In turn, so that what else the machine does is felt by both.
    for _ in 0..2 {
        apply("small", &small, FEW).await;
        apply("large", large, records).await;
        // Most of what this needs is in memory after the first round.
        apply("of few", large, FEW).await;
    }
    small.close().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(remove)).execute(&mut conn).await.unwrap();
}

async fn apply(name: &str, model: &ReadModel, records: u64) {
    let numbers = Numbers(AtomicU64::new(model.known_at().0.values().sum()));
    let mut times = Vec::new();
    for _ in 0..TRANSACTIONS {
        let told = batches(model, |n, partition| {
            generated::message(n, numbers.below(records / PARTITIONS) * PARTITIONS + partition, &numbers)
        });
        let start = Instant::now();
        model.apply_once(told).await.unwrap();
        times.push(start.elapsed().as_secs_f64());
    }
    let rate = (TRANSACTIONS * EACH * PARTITIONS) as f64 / times.iter().sum::<f64>();
    times.sort_by(f64::total_cmp);
    let (middle, worst) = (times[times.len() / 2] * 1e3, times[times.len() - 1] * 1e3);
    println!(
        "{name:<10} {rate:6.0} events/s, transactions of {} events: p50 {middle:.0} ms, worst {worst:.0} ms",
        EACH * PARTITIONS
    );
}

/// The next events of every partition of the feed stream: event `n` of a partition.
fn batches(model: &ReadModel, event: impl Fn(u64, u64) -> Event) -> Vec<Batch> {
    let known = model.known_at();
    let batch = |number: u64| {
        let partition = Stream::Feed.partition(number as u32);
        let from = known.size(partition);
        let events = (from..from + EACH).map(|offset| event(offset * PARTITIONS + number, number)).collect();
        Batch::new(partition, from, events)
    };
    (0..PARTITIONS).map(batch).collect()
}
