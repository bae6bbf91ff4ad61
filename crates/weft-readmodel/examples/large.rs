//! Whether the read model on PostgreSQL stands a large population: how fast it is filled, how large it becomes, and what a
//! timeline costs then.
//!
//! ```text
//! cargo run --release -p weft-readmodel --example large -- POSTGRES [PEOPLE] [MESSAGES_PER_PERSON]
//! ```
//!
//! PEOPLE have two source records each and MESSAGES_PER_PERSON messages (default 20,000 and 8), in eight partitions, the
//! messages of a record as far apart as they can be: its rows do not lie side by side because they came together. The
//! events are made when they are read, so that the fill is that of a rebuild without a log's own cost; they go the way
//! that a rebuild goes, into a schema `large` that must not exist and is left there.
//!
//! What must hold at any size is that a timeline is found by indexes alone: the number of scans of whole tables is printed,
//! and of the pages that a question touches, and how many of those were not in PostgreSQL's memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where it cannot go on"
)]

mod generated;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use async_trait::async_trait;
use bytes::Bytes;
use generated::Numbers;
use sqlx::{Connection, PgConnection};
use weft_log::{AppendError, Draft, EventLog, OpenError, ReadError, ReadLimit, Receipt, SharedLog, Statistics, Stored};
use weft_model::{Event, Partition, Position, Pseudonym, SourceRecordId, Stream};
use weft_readmodel::{Location, ReadModel, Repeats, rebuild};

const SCHEMA: &str = "large";
const PARTITIONS: u64 = 8;
const QUESTIONS: u64 = 2_000;

/// A log whose events are made when they are asked for.
struct Generated {
    records: u64,
    messages: u64,
}

impl Generated {
    fn sizes(&self, partition: Partition) -> u64 {
        match partition.stream {
            Stream::Feed => self.records / PARTITIONS * self.messages,
            Stream::Identity => self.records,
            _ => 0,
        }
    }

    /// In each partition, every eighth record in turn, as often as it has messages.
    fn event(&self, position: Position) -> Event {
        let Position { partition, offset } = position;
        if partition.stream == Stream::Identity {
            return generated::link(offset);
        }
        let record = offset % (self.records / PARTITIONS) * PARTITIONS + u64::from(partition.number);
        let n = offset * PARTITIONS + u64::from(partition.number);
        generated::message(n, record, &Numbers(AtomicU64::new(n)))
    }
}

#[async_trait]
impl EventLog for Generated {
    async fn append(&self, _: Vec<Draft>) -> Result<Vec<Receipt>, AppendError> {
        Err(AppendError::Unavailable("a generated log only reads".into()))
    }

    async fn read(&self, from: Position, limit: ReadLimit) -> Result<Vec<Stored>, ReadError> {
        let end = self.sizes(from.partition).min(from.offset + limit.events as u64);
        let stored = |offset| Stored { position: from.partition.at(offset), bytes: Bytes::new(), leaf: [0; 32] };
        Ok((from.offset..end).map(stored).collect())
    }

    async fn wait(&self, partition: Partition, offset: u64) -> Result<u64, ReadError> {
        let size = self.sizes(partition);
        if size > offset { Ok(size) } else { std::future::pending().await }
    }

    async fn size(&self, partition: Partition) -> Result<u64, ReadError> {
        Ok(self.sizes(partition))
    }

    fn partitions(&self) -> Vec<Partition> {
        let feed = (0..PARTITIONS as u32).map(|number| Stream::Feed.partition(number));
        feed.chain([Stream::Identity, Stream::Control, Stream::Access].map(|stream| stream.partition(0))).collect()
    }

    async fn open(&self, stored: &Stored) -> Result<Arc<Event>, OpenError> {
        Ok(Arc::new(self.event(stored.position)))
    }

    fn pseudonym(&self, _: &SourceRecordId) -> Pseudonym {
        Pseudonym([0; 16])
    }

    async fn statistics(&self) -> Result<Statistics, ReadError> {
        Err(ReadError::Unavailable("a generated log counts nothing".into()))
    }

    async fn close(&self) {}
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the address of a PostgreSQL database");
    let mut number = |default| arguments.next().map_or(default, |a| a.parse::<u64>().unwrap());
    let (people, messages) = (number(20_000), number(8));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(url, people.next_multiple_of(PARTITIONS), messages));
}

async fn run(url: String, people: u64, messages: u64) {
    let location = Location::Postgres { url: url.clone(), schema: SCHEMA.to_owned() };
    let log: SharedLog = Arc::new(Generated { records: people * 2, messages: messages.div_ceil(2) });
    let report = rebuild(log, &location, None, Repeats::Never).await.unwrap();
    println!("filled     {} events at {:.0}/s, {people} people", report.events, report.events_per_second());
    let mut watching = PgConnection::connect(&url).await.unwrap();
    sizes(&mut watching).await;
    let model = Arc::new(ReadModel::open(location).await.unwrap());
    for clients in [1, 16] {
        timelines(&model, &mut watching, people, clients).await;
    }
}

/// Rows and megabytes of the tables that grow with every message, all their parts together.
async fn sizes(watching: &mut PgConnection) {
    sqlx::raw_sql("ANALYZE").execute(&mut *watching).await.unwrap();
    const SIZES: &str = "SELECT regexp_replace(relname::text, '_[0-9]+$', ''), sum(reltuples)::bigint,
             (sum(pg_relation_size(c.oid)) / 1048576)::bigint, (sum(pg_indexes_size(c.oid)) / 1048576)::bigint
         FROM pg_class AS c WHERE relkind = 'r' AND relnamespace = 'large'::regnamespace
         GROUP BY 1 HAVING sum(reltuples) > 0 ORDER BY 3 DESC LIMIT 8";
    let rows: Vec<(String, i64, i64, i64)> = sqlx::query_as(SIZES).fetch_all(watching).await.unwrap();
    for (table, rows, table_mb, indexes_mb) in rows {
        println!("{table:<16} {rows:>11} rows, {table_mb:>6} MB, indexes {indexes_mb:>6} MB");
    }
}

/// Asks for 100 lines of anybody's timeline, at random, from so many clients at once.
async fn timelines(model: &Arc<ReadModel>, watching: &mut PgConnection, people: u64, clients: u64) {
    let before = scans(watching).await;
    let start = Instant::now();
    let asking: Vec<_> = (0..clients)
        .map(|client| {
            let model = Arc::clone(model);
            tokio::spawn(async move {
                let numbers = Numbers(AtomicU64::new(client + 1));
                let (mut times, mut lines) = (Vec::new(), 0);
                for _ in 0..QUESTIONS / clients {
                    let person = generated::person(numbers.below(people) * 2);
                    let start = Instant::now();
                    let page = model.timeline(person, &Default::default(), 100, None, None).await.unwrap().unwrap();
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                    lines += page.entries.len();
                }
                (times, lines)
            })
        })
        .collect();
    let (mut times, mut lines) = (Vec::new(), 0);
    for task in asking {
        let (some, of_some) = task.await.unwrap();
        times.extend(some);
        lines += of_some;
    }
    let elapsed = start.elapsed().as_secs_f64();
    // What the server's processes have counted arrives with a second's delay.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let after = scans(watching).await;
    let since = |name: &str| (after[name] - before[name]) as f64;
    times.sort_by(f64::total_cmp);
    let (count, at) = (times.len() as f64, |share: f64| times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "timeline   {clients} clients: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.0} lines each; of whole tables {} scans; \
         {:.0} pages each, {:.1} of them not in memory",
        count / elapsed,
        at(0.5),
        at(0.99),
        lines as f64 / count,
        since("scans of whole tables"),
        (since("pages in memory") + since("pages read")) / count,
        since("pages read") / count,
    );
}

/// What PostgreSQL has counted of the tables that grow with every message.
async fn scans(watching: &mut PgConnection) -> BTreeMap<&'static str, i64> {
    const COUNTED: &str = "SELECT sum(t.seq_scan)::bigint,
             sum(coalesce(i.heap_blks_hit, 0) + coalesce(i.idx_blks_hit, 0) + coalesce(i.toast_blks_hit, 0))::bigint,
             sum(coalesce(i.heap_blks_read, 0) + coalesce(i.idx_blks_read, 0) + coalesce(i.toast_blks_read, 0))::bigint
         FROM pg_stat_user_tables AS t JOIN pg_statio_user_tables AS i USING (relid)
         WHERE t.schemaname = 'large' AND t.relname ~ '^(entry|told|fact|record|link|merge|parked|encounter)'";
    let (scans, hit, read): (i64, i64, i64) = sqlx::query_as(COUNTED).fetch_one(watching).await.unwrap();
    BTreeMap::from([("scans of whole tables", scans), ("pages in memory", hit), ("pages read", read)])
}
