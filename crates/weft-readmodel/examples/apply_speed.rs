//! How fast the read model takes events in, is rebuilt, and answers.
//!
//! `cargo run --release -p weft-readmodel --example apply_speed -- [EVENTS] [PEOPLE] [POSTGRES]` (default 300,000 and
//! 100,000, on SQLite; with the address of a PostgreSQL database, in two schemas of it that must not exist)
//!
//! The mix is three ADT messages with three facts each (one of them without a line) for two ORU messages with five facts
//! each, raw messages of 1.2 kB, two source records for each person, told of in random order. "live" applies batches of
//! 2,000 events to a file in WAL mode; "rebuild" reads, opens and applies a log in memory; "timeline" asks for 100 entries
//! of one of 1,000 people who have about as many, in random order, one question at a time. "live" begins with batches that
//! are made ("prepare" is what that costs); CPU is the whole process's.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends where it cannot go on")]

mod generated;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use generated::{Numbers, link, message, person};
use weft_log::{Draft, MemoryLog, Same, SharedLog, Vault};
use weft_model::{Event, Stream, Verdict};
use weft_readmodel::{Batch, Location, ReadModel, rebuild};

const BATCH: usize = 2_000;
const READ_OFTEN: u64 = 1_000;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |a| a.parse::<u64>().unwrap());
    let (events, people) = (number(300_000), number(100_000));
    let url = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(events, people, url));
}

async fn run(events: u64, people: u64, url: Option<String>) {
    let dir = tempfile::tempdir().unwrap();
    let location = |name: &str| match &url {
        Some(url) => Location::Postgres { url: url.clone(), schema: format!("speed_{name}") },
        None => Location::Sqlite(dir.path().join(name)),
    };
    let numbers = Arc::new(Numbers(AtomicU64::new(1)));
    prepare(&numbers, people);
    live(location("live"), &numbers, events, people).await;
    replay(location("rebuilt"), &dir.path().join("keys"), numbers, events, people).await;
}

/// What does not depend on what is stored, on one core.
fn prepare(numbers: &Numbers, people: u64) {
    const EVENTS: u64 = 20_000;
    let events: Vec<Event> = (0..EVENTS).map(|n| message(n, numbers.below(people * 2), numbers)).collect();
    let start = Instant::now();
    let batch = Batch::new(Stream::Feed.partition(0), 0, events);
    let us = start.elapsed().as_secs_f64() * 1e6 / batch.len() as f64;
    println!("prepare    {us:8.1} us an event");
}

async fn live(location: Location, numbers: &Numbers, events: u64, people: u64) {
    let model = ReadModel::open(location).await.unwrap();
    let (feed, identity) = (Stream::Feed.partition(0), Stream::Identity.partition(0));
    // Everybody once, those who are read often twenty times: this fills the file before the clock runs.
    let mut records: Vec<u64> = (0..people * 2).collect();
    for _ in 0..24 {
        records.extend(0..READ_OFTEN * 2);
    }
    let (mut offset, mut linked) = (0, 0);
    for records in records.chunks(10_000) {
        let told = records.iter().enumerate().map(|(n, r)| message(offset + n as u64, *r, numbers)).collect();
        model.apply(vec![Batch::new(feed, offset, told)]).await.unwrap();
        offset += records.len() as u64;
    }
    for records in (0..people * 2).collect::<Vec<_>>().chunks(10_000) {
        let links = records.iter().map(|record| link(*record)).collect();
        model.apply(vec![Batch::new(identity, linked, links)]).await.unwrap();
        linked += records.len() as u64;
    }
    println!("filled     {offset} messages, {} MB", file_mb(model.location()));

    let mut waiting = Vec::new();
    for batch in 0..(events / 3).div_ceil(BATCH as u64) {
        let from = offset + batch * BATCH as u64;
        let told = (0..BATCH as u64).map(|n| message(from + n, numbers.below(people * 2), numbers)).collect();
        waiting.push(Batch::new(feed, from, told));
    }
    let done = waiting.iter().map(Batch::len).sum::<usize>() as u64;
    let (start, before) = (Instant::now(), cpu_seconds());
    let mut worst: f64 = 0.0;
    for batch in waiting {
        let start = Instant::now();
        model.apply(vec![batch]).await.unwrap();
        worst = worst.max(start.elapsed().as_secs_f64());
    }
    let rate = done as f64 / start.elapsed().as_secs_f64();
    println!("live       {rate:8.0} events/s, {} an event, worst batch {:.0} ms", cpu_us(before, done), worst * 1e3);
    timeline(&model, numbers).await;
    model.close().await.unwrap();
}

async fn timeline(model: &ReadModel, numbers: &Numbers) {
    const QUERIES: usize = 30_000;
    for people in [READ_OFTEN, 1] {
        let mut times = Vec::with_capacity(QUERIES);
        let before = cpu_seconds();
        for _ in 0..QUERIES {
            let person = person(numbers.below(people) * 2);
            let start = Instant::now();
            let page = model.timeline(person, &Default::default(), 100, None, None).await.unwrap().unwrap();
            assert!(page.entries.len() >= 80);
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let cpu = cpu_us(before, QUERIES as u64);
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times.get((QUERIES as f64 * share) as usize).copied().unwrap_or(0.0);
        println!("timeline   {cpu}, p50 {:.0} us, p99 {:.0} us (of {people} people)", at(0.5), at(0.99));
    }
}

async fn replay(location: Location, keys: &Path, numbers: Arc<Numbers>, events: u64, people: u64) {
    Vault::create(keys, numbers.as_ref()).unwrap();
    let vault = Arc::new(Vault::open(keys, numbers.clone()).unwrap());
    let log: SharedLog = Arc::new(MemoryLog::new(vault));
    for from in (0..events).step_by(500) {
        let drafts = (from..from + 500).map(|n| draft(message(n, numbers.below(people * 2), &numbers)));
        log.append(drafts.collect()).await.unwrap();
    }
    let before = cpu_seconds();
    let report = rebuild(log, &location, None, weft_readmodel::Repeats::Never).await.unwrap();
    let cpu = cpu_us(before, report.events);
    let rate = report.events_per_second();
    println!("rebuild    {rate:8.0} events/s, {cpu} an event, {} MB", file_mb(&location));
}

fn draft(event: Event) -> Draft {
    Draft {
        same: Same::Message,
        feed: event.header.feed,
        control_id: event.header.control_id,
        message_type: event.header.message_type,
        verdict: Verdict::Accepted,
        received_us: event.header.received_us,
        cause: None,
        payload: event.payload,
    }
}

/// Size of a file; of a schema it is not known here.
fn file_mb(location: &Location) -> u64 {
    let Location::Sqlite(path) = location else { return 0 };
    std::fs::metadata(path).map_or(0, |file| file.len() >> 20)
}

/// Time that the process has spent on all cores, and what of it on SQLite's threads. The kernel counts in hundredths of a
/// second.
fn cpu_seconds() -> [f64; 2] {
    let of = |path: &Path| {
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        (ticks as f64 / 100.0, stat.contains("(sqlx-sqlite"))
    };
    let threads = std::fs::read_dir("/proc/self/task").unwrap().map(|task| of(&task.unwrap().path().join("stat")));
    [of(Path::new("/proc/self/stat")).0, threads.filter(|(_, sqlite)| *sqlite).map(|(seconds, _)| seconds).sum()]
}

/// Microseconds of CPU for each of `count` things since `before`.
fn cpu_us(before: [f64; 2], count: u64) -> String {
    let [all, sqlite] = cpu_seconds();
    let each = |seconds: f64| seconds * 1e6 / count as f64;
    format!("{:.1} us CPU (SQLite {:.1})", each(all - before[0]), each(sqlite - before[1]))
}
