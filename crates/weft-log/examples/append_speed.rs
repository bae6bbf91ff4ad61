//! How fast a log appends, embedded or on Kafka and PostgreSQL; and how fast the embedded one is read back.
//!
//! Closed loop: each task appends one event of about 1.4 KB raw message and 3 KB facts, waits for its receipt, and goes on;
//! eight events for each source record. The same work is done by every setting. Beside it stands the time that the same
//! disk takes for one write of 64 KiB and one fdatasync, because nobody can be durable faster than that.
//!
//! ```text
//! cargo run --release -p weft-log --example append_speed -- [DIRECTORY] [TASKS] [SECONDS] [PAGE_BYTES]
//! cargo run --release -p weft-log --example append_speed -- reopen DIRECTORY    # what one that was killed left there
//! cargo run --release -p weft-log --example append_speed -- cost [DIRECTORY] [TASKS] [ROUNDS]
//! cargo run --release -p weft-log --example append_speed -- kafka BROKERS POSTGRES_URL [TASKS] [SECONDS]
//! ```
//!
//! `cost` says what proof costs: two logs beside each other take the same messages in turns of 10,000, about a second of a
//! busy node. In the one an append is what it is, and each turn ends with a cut. In the other events are as large and are
//! neither sealed nor hashed, records have no keys, and nothing is cut; encoding, compressing, event ids, verdicts and the
//! commit are the same. Compared are the processor time and the time of the turns, each by its median.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

mod speed;

use std::{
    env,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use speed::{RAW_BYTES, System, Ticks, busy_time, cpu_time, message};
use weft_log::{Draft, EmbeddedLog, EventLog, Notary, OpenOptions, ReadLimit, Remembered, SigningKey, Vault};
use weft_model::{Payload, SourceRecordId, Stream};

fn main() {
    let mut arguments = env::args().skip(1).peekable();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if arguments.next_if_eq("reopen").is_some() {
        return runtime.block_on(read(Path::new(&arguments.next().unwrap())));
    }
    if arguments.next_if_eq("cost").is_some() {
        let dir = arguments.next().unwrap_or_else(|| "target/append_speed".to_owned());
        let tasks: u64 = arguments.next().map_or(32, |n| n.parse().unwrap());
        let rounds: u64 = arguments.next().map_or(10, |n| n.parse().unwrap());
        return runtime.block_on(cost(Path::new(&dir), tasks, rounds));
    }
    #[cfg(feature = "kafka")]
    if arguments.next_if_eq("kafka").is_some() {
        let (brokers, postgres) = (arguments.next().unwrap(), arguments.next().unwrap());
        let tasks: u64 = arguments.next().map_or(32, |n| n.parse().unwrap());
        let seconds: u64 = arguments.next().map_or(10, |n| n.parse().unwrap());
        return runtime.block_on(append_to_kafka(brokers, postgres, tasks, Duration::from_secs(seconds)));
    }
    let dir = arguments.next().unwrap_or_else(|| "target/append_speed".to_owned());
    let tasks: u64 = arguments.next().map_or(32, |n| n.parse().unwrap());
    let seconds: u64 = arguments.next().map_or(10, |n| n.parse().unwrap());
    let page_bytes: u32 = arguments.next().map_or(8192, |n| n.parse().unwrap());
    let dir = Path::new(&dir);
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    print_fsync(dir);
    runtime.block_on(async {
        append(dir, tasks, Duration::from_secs(seconds), page_bytes).await;
        print_fsync(dir);
        read(dir).await;
    });
    std::fs::remove_dir_all(dir).unwrap();
}

fn print_fsync(dir: &Path) {
    let mut times: Vec<Duration> = Vec::new();
    let path = dir.join("fsync");
    let mut file = std::fs::File::create(&path).unwrap();
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[7; 64 << 10]).unwrap();
        file.sync_data().unwrap();
        times.push(start.elapsed());
    }
    std::fs::remove_file(path).unwrap();
    println!("64 KiB write + fdatasync: {}", percentiles(&mut times));
}

async fn append(dir: &Path, tasks: u64, duration: Duration, page_bytes: u32) {
    Vault::create(&dir.join("vault"), &System).unwrap();
    let vault = Arc::new(Vault::open(&dir.join("vault"), Arc::new(System)).unwrap());
    let log = EmbeddedLog::open(OpenOptions { page_bytes, ..OpenOptions::new(dir.join("log"), vault) }).await.unwrap();
    println!("pages of {page_bytes}:");
    measure(Arc::new(log), tasks, duration).await;
}

/// On topics and a schema of their own, which are left behind.
#[cfg(feature = "kafka")]
async fn append_to_kafka(brokers: String, postgres: String, tasks: u64, duration: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("vault");
    Vault::create(&keys, &System).unwrap();
    let name = format!("append_speed_{}", std::process::id());
    let options = weft_log::KafkaOptions {
        brokers,
        prefix: name.clone(),
        feed_partitions: 8,
        replication: 1,
        min_insync_replicas: 1,
        properties: Default::default(),
        postgres,
        schema: name,
        keys,
        random: Arc::new(System),
        deliver_within: weft_log::KafkaOptions::DELIVER_WITHIN,
    };
    measure(Arc::new(weft_log::KafkaLog::open(options).await.unwrap()), tasks, duration).await;
}

async fn measure(log: Arc<dyn EventLog>, tasks: u64, duration: Duration) {
    // Made beforehand, so that making messages is not measured.
    let pool: Arc<Vec<Draft>> = Arc::new((0..4096).map(|n| message(n, RAW_BYTES)).collect());
    let next = Arc::new(AtomicU64::new(0));
    let (start, cpu, all) = (Instant::now(), cpu_time(), busy_time());
    let task = || {
        let (log, next, pool) = (Arc::clone(&log), Arc::clone(&next), Arc::clone(&pool));
        tokio::spawn(async move {
            let mut times = Vec::new();
            while start.elapsed() < duration {
                let draft = numbered(&pool, next.fetch_add(1, Ordering::Relaxed));
                let asked = Instant::now();
                log.append(vec![draft]).await.unwrap();
                times.push(asked.elapsed());
            }
            times
        })
    };
    let running: Vec<_> = (0..tasks).map(|_| task()).collect();
    let mut times = Vec::new();
    for task in running {
        times.extend(task.await.unwrap());
    }
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
    let others = (busy_time() - all - cpu).max(0.0) / elapsed;
    let statistics = log.statistics().await.unwrap();
    println!(
        "{tasks} tasks: {:.0} appends/s, {}, {:.1} us CPU each, {} B stored each, {} MB on disk, other programs used {others:.2} cores",
        times.len() as f64 / elapsed,
        percentiles(&mut times),
        cpu * 1e6 / times.len() as f64,
        statistics.partitions.iter().map(|partition| partition.bytes).sum::<u64>() / times.len() as u64,
        statistics.disk_bytes >> 20,
    );
    log.close().await;
}

async fn cost(dir: &Path, tasks: u64, rounds: u64) {
    let _ = std::fs::remove_dir_all(dir);
    let (mut proven, mut bare) = (Vec::new(), Vec::new());
    let ((log, notary), (bare_log, _)) = (open_beside(&dir.join("proven")).await, open_beside(&dir.join("bare")).await);
    bare_log.store_bare();
    let pool: Arc<Vec<Draft>> = Arc::new((0..2000).map(|n| message(n, RAW_BYTES)).collect());
    // The first turn fills caches and is not counted.
    for round in 0..=rounds {
        let first = round * TURN;
        let with_proof = turn(&log, Some(&notary), &pool, tasks, first).await;
        let without = turn(&bare_log, None, &pool, tasks, first).await;
        if round > 0 {
            proven.push(with_proof);
            bare.push(without);
        }
    }
    let cpu = |turns: &[(f64, f64)]| median(turns.iter().map(|turn| turn.1 * 1e6 / TURN as f64));
    let rate = |turns: &[(f64, f64)]| TURN as f64 / median(turns.iter().map(|turn| turn.0));
    println!(
        "sealed, hashed and cut: {:.0} appends/s, {:.1} us CPU each; bare: {:.0} appends/s, {:.1} us CPU each; \
         so proof is {:.1} % of the CPU and {:.1} % of the time of an append",
        rate(&proven),
        cpu(&proven),
        rate(&bare),
        cpu(&bare),
        100.0 * (1.0 - cpu(&bare) / cpu(&proven)),
        100.0 * (1.0 - rate(&proven) / rate(&bare)),
    );
    log.close().await;
    bare_log.close().await;
    std::fs::remove_dir_all(dir).unwrap();
}

/// Messages of a turn.
const TURN: u64 = 10_000;

async fn open_beside(dir: &Path) -> (Arc<EmbeddedLog>, Notary) {
    std::fs::create_dir_all(dir).unwrap();
    Vault::create(&dir.join("vault"), &System).unwrap();
    let vault = Arc::new(Vault::open(&dir.join("vault"), Arc::new(System)).unwrap());
    let log = Arc::new(EmbeddedLog::open(OpenOptions::new(dir.join("log"), vault)).await.unwrap());
    let notary = Notary {
        log: log.clone(),
        key: SigningKey::generate("example.nhs.uk/speed", &System).unwrap(),
        clock: Arc::new(Ticks(AtomicU64::new(1))),
        nodes: dir.join("merkle"),
        remembered: Remembered::new(dir.join("checkpoint")),
    };
    (log, notary)
}

/// Appends the messages of a turn; returns the seconds that it took, and those of the processor.
async fn turn(
    log: &Arc<EmbeddedLog>,
    notary: Option<&Notary>,
    pool: &Arc<Vec<Draft>>,
    tasks: u64,
    first: u64,
) -> (f64, f64) {
    let (start, cpu) = (Instant::now(), cpu_time());
    let next = Arc::new(AtomicU64::new(first));
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (log, next, pool) = (Arc::clone(log), Arc::clone(&next), Arc::clone(pool));
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= first + TURN {
                        return;
                    }
                    log.append(vec![numbered(&pool, n)]).await.unwrap();
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    if let Some(notary) = notary {
        notary.cut_now().await.unwrap();
    }
    (start.elapsed().as_secs_f64(), cpu_time() - cpu)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn read(dir: &Path) {
    let vault = Arc::new(Vault::open(&dir.join("vault"), Arc::new(System)).unwrap());
    let opening = Instant::now();
    let log = EmbeddedLog::open(OpenOptions::new(dir.join("log"), vault)).await.unwrap();
    println!("opened in {:.1} ms", opening.elapsed().as_secs_f64() * 1e3);
    let partition = Stream::Feed.partition(0);
    let size = log.size(partition).await.unwrap();
    for open in [false, true] {
        let (mut offset, start, cpu) = (0, Instant::now(), cpu_time());
        while offset < size {
            let page = log.read(partition.at(offset), ReadLimit::PAGE).await.unwrap();
            offset += page.len() as u64;
            if open {
                for stored in &page {
                    std::hint::black_box(log.open(stored).await.unwrap());
                }
            }
        }
        let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
        let what = if open { "read and opened" } else { "read" };
        println!(
            "{what} {size} events: {:.0}/s, {:.1} us CPU each ({:.0}/s on one core)",
            size as f64 / elapsed,
            cpu * 1e6 / size as f64,
            size as f64 / cpu
        );
    }
    log.close().await;
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms, most {:.1} ms", at(0.5), at(0.99), at(0.999), at(1.0))
}

/// The next message of the pool under a control id of its own; every eighth starts another record.
fn numbered(pool: &[Draft], n: u64) -> Draft {
    let mut draft = pool[(n % pool.len() as u64) as usize].clone();
    draft.control_id = format!("MSG{n:010}");
    if let Payload::MessageReceived(message) = &mut draft.payload {
        let value = format!("{:07}", n / 8 * 7919 % 1_000_003);
        message.record = Some(SourceRecordId { value, ..message.record.take().unwrap() });
    }
    draft
}
