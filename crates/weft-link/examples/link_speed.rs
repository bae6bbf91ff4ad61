//! How fast records are decided on as they arrive, what each part of the work takes, and what they cost in memory: `cargo run
//! --release -p weft-link --example link_speed -- PEOPLE TOGETHER`. Reads the demographics, finds, compares, decides and
//! remembers, all on one thread; making the records is not counted. So many records are looked ahead at together; with 0 none is.

#![allow(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::time::Instant;

use weft_link::{Features, Index, Model, Options, TOGETHER, Waiting};
use weft_model::Pseudonym;
use weft_synth::{Linkage, LinkageRecord};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let people = std::env::args().nth(1).map_or(Ok(200_000), |people| people.parse())?;
    let together = std::env::args().nth(2).map_or(Ok(TOGETHER), |together| together.parse())?;
    let population = Linkage::generate(1, people);
    let model = Model::shipped()?;
    let options = Options { test_numbers_are_evidence: true };
    let before = memory_kib()?;
    let mut index = Index::new();
    let (mut records, mut candidates) = (0u64, 0u64);
    // Reading, looking ahead, deciding.
    let mut cpu = [0; 3];
    let mut micros: Vec<u32> = Vec::new();
    let mut told = population.records();
    loop {
        // Made beforehand, a few at a time: there may be millions.
        let batch: Vec<LinkageRecord> = told.by_ref().take(256).collect();
        if batch.is_empty() {
            break;
        }
        let start = cpu_nanos()?;
        let mut waiting: Vec<Waiting> = batch.iter().map(|told| read(told, &options)).collect();
        let read = cpu_nanos()?;
        if together > 0 {
            waiting.chunks_mut(together).for_each(|waiting| index.look_ahead(waiting, &model));
        }
        let looked = cpu_nanos()?;
        for waiting in waiting {
            let start = Instant::now();
            let pseudonym = waiting.record();
            let decision = index.hear(waiting, &model);
            index.apply(pseudonym, &decision);
            micros.push(u32::try_from(start.elapsed().as_nanos() / 100)?);
            candidates += u64::from(decision.candidates);
            records += 1;
        }
        let decided = cpu_nanos()?;
        for (cpu, took) in cpu.iter_mut().zip([read - start, looked - read, decided - looked]) {
            *cpu += took;
        }
    }
    let seconds = cpu.iter().sum::<u64>() as f64 / 1e9;
    let each = cpu.map(|nanos| nanos as f64 / 1e3 / records as f64);
    let memory = memory_kib()? - before - micros.capacity() as u64 * 4 / 1024;
    micros.sort_unstable();
    let at =
        |share: f64| micros.get((micros.len() as f64 * share) as usize).map_or(0.0, |tenths| f64::from(*tenths) / 10.0);
    println!("{records} records of {} people, {} persons", population.len(), index.persons());
    println!(
        "each {:.2} us: reading {:.2}, looking ahead {:.2}, deciding {:.2}",
        each.iter().sum::<f64>(),
        each[0],
        each[1],
        each[2]
    );
    println!(
        "{:.0} records per second of CPU; deciding p50 {:.1} us, p99 {:.1} us, p99.9 {:.1} us",
        records as f64 / seconds,
        at(0.5),
        at(0.99),
        at(0.999)
    );
    println!(
        "{:.2} comparisons a record, {} MiB, {} bytes a record",
        candidates as f64 / records as f64,
        memory / 1024,
        memory * 1024 / records
    );
    let (keys, skipped) = index.keys();
    println!("{keys} keys, {skipped} of them skipped as too common");
    Ok(())
}

fn read(told: &LinkageRecord, options: &Options) -> Waiting {
    Waiting::new(pseudonym(told), Features::from_demographics(&told.demographics, options))
}

fn pseudonym(told: &LinkageRecord) -> Pseudonym {
    let digest = (u64::from(told.person) << 8 | u64::from(told.turn)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Pseudonym((u128::from(digest) << 64 | u128::from(digest.rotate_left(29))).to_be_bytes())
}

/// Time that this thread has been on a CPU: what else runs on the machine does not count.
fn cpu_nanos() -> Result<u64, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split_whitespace().next().ok_or("no figure")?.parse()?)
}

/// Resident memory of this process.
fn memory_kib() -> Result<u64, Box<dyn std::error::Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
}
