//! How fast a log is verified, and how long a proof takes.
//!
//! Fills an embedded log with messages like those of `append_speed` (1.4 KB raw, 3 KB facts, eight events for a source
//! record), cutting every 10,000 events, and then does what an auditor does: reads everything, with and without opening
//! it, and proves single events at random places, with the inner nodes that the notary kept. Beside every figure stands
//! the processor time, because that is what other programs on the machine do not change.
//!
//! ```text
//! cargo run --release -p weft-log --example verify_speed -- [DIRECTORY] [EVENTS] [RAW_BYTES]
//! ```
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

mod speed;

use std::{
    path::Path,
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use speed::{RAW_BYTES, System, Ticks, busy_time, cpu_time, message};
use weft_log::{
    EmbeddedEvidence, EmbeddedLog, Notary, OpenOptions, Remembered, SharedLog, SigningKey, Vault, VerifyOptions, prove,
    verify,
};
use weft_model::Stream;

/// Events between two cuts: a second of a busy node.
const CUT_EVERY: u64 = 10_000;
const PROOFS: u64 = 500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().unwrap_or_else(|| "target/verify_speed".to_owned());
    let events: u64 = arguments.next().map_or(200_000, |n| n.parse().unwrap());
    let raw_bytes: usize = arguments.next().map_or(RAW_BYTES, |n| n.parse().unwrap());
    let dir = Path::new(&dir);
    let _ = std::fs::remove_dir_all(dir);
    std::fs::create_dir_all(dir).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let key = fill(dir, events, raw_bytes).await;
        check(dir, &key).await;
        proofs(dir, &key, events).await;
    });
    std::fs::remove_dir_all(dir).unwrap();
}

fn vault(dir: &Path) -> Arc<Vault> {
    Arc::new(Vault::open(&dir.join("vault"), Arc::new(System)).unwrap())
}

async fn fill(dir: &Path, events: u64, raw_bytes: usize) -> SigningKey {
    Vault::create(&dir.join("vault"), &System).unwrap();
    let log: SharedLog = Arc::new(EmbeddedLog::open(OpenOptions::new(dir.join("log"), vault(dir))).await.unwrap());
    let key = SigningKey::generate("example.nhs.uk/speed", &System).unwrap();
    let notary = Notary {
        log: log.clone(),
        key: key.to_secret_text().parse().unwrap(),
        clock: Arc::new(Ticks(AtomicU64::new(1))),
        nodes: dir.join("merkle"),
        remembered: Remembered::new(dir.join("checkpoint")),
    };
    let (start, cpu) = (Instant::now(), cpu_time());
    let (mut cutting, mut cutting_cpu) = (0.0, 0.0);
    for first in (0..events).step_by(500) {
        log.append((first..(first + 500).min(events)).map(|n| message(n, raw_bytes)).collect()).await.unwrap();
        if (first + 500) % CUT_EVERY == 0 {
            let (start, cpu) = (Instant::now(), cpu_time());
            notary.cut_now().await.unwrap();
            cutting += start.elapsed().as_secs_f64();
            cutting_cpu += cpu_time() - cpu;
        }
    }
    notary.cut_now().await.unwrap();
    println!(
        "{events} events appended in {:.1} s, {:.1} us CPU each; of that cuts {cutting:.2} s, {:.2} us CPU for each event",
        start.elapsed().as_secs_f64(),
        (cpu_time() - cpu) * 1e6 / events as f64,
        cutting_cpu * 1e6 / events as f64,
    );
    log.close().await;
    key
}

async fn check(dir: &Path, key: &SigningKey) {
    for deep in [false, true, false, true] {
        let evidence = Arc::new(EmbeddedEvidence::open(dir.join("log")).await.unwrap());
        let checkpoint = std::fs::read_to_string(dir.join("checkpoint")).unwrap();
        let options = VerifyOptions {
            key: key.public().clone(),
            deep: deep.then(|| vault(dir)),
            checkpoints: vec![("remembered".to_owned(), checkpoint)],
        };
        let (start, cpu, all) = (Instant::now(), cpu_time(), busy_time());
        let report = verify(evidence.clone(), options).await.unwrap();
        let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
        let others = (busy_time() - all - cpu).max(0.0) / elapsed;
        assert!(report.damages.is_empty(), "{:?}", report.damages);
        let events: u64 = report.partitions.iter().map(|partition| partition.events).sum();
        println!(
            "verify{}: {events} events, {} cuts: {:.0}/s, {:.2} us CPU each ({:.0}/s on two cores alone), other programs used {others:.2} cores",
            if deep { " --deep" } else { "" },
            report.cuts,
            events as f64 / elapsed,
            cpu * 1e6 / events as f64,
            2.0 * events as f64 / cpu,
        );
        evidence.close().await;
    }
}

async fn proofs(dir: &Path, key: &SigningKey, events: u64) {
    let evidence = EmbeddedEvidence::open(dir.join("log")).await.unwrap();
    let mut times = Vec::new();
    for n in 0..PROOFS {
        let position = Stream::Feed.partition(0).at(n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % events);
        let start = Instant::now();
        let proof = prove(&evidence, position, None, Some(&dir.join("merkle"))).await.unwrap();
        times.push(start.elapsed().as_secs_f64() * 1e3);
        assert!(proof.verify(key.public()).is_ok());
    }
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("proof among {events} leaves: p50 {:.2} ms, p99 {:.2} ms, most {:.2} ms", at(0.5), at(0.99), at(1.0));
    evidence.close().await;
}
