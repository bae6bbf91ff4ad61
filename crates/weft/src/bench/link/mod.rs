//! `weft bench link`: records of a generated population decided on as they arrive, with and without writing each decision to
//! the log. What is counted is reading the demographics, finding, comparing, deciding and remembering; making the records
//! is not. Records that have arrived are looked ahead at together, as by a linker that is behind. The truth is known, so the
//! figures tell too how well it was done.

mod score;

use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use tokio::task::JoinHandle;
use weft_link::{Decision, Features, Index, Model, TOGETHER, Waiting};
use weft_log::Draft;
use weft_model::{Clock, Payload, Position, Pseudonym, SourceRecordId, Stream};
use weft_synth::{Linkage, LinkageRecord};

use super::{Common, Figures, bed};
use crate::{
    linker::{ahead, deciding::Decided},
    stores,
    system::SystemClock,
};
use score::Truth;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// People; each has 2.3 records on the mean
    #[arg(long, default_value_t = 200_000)]
    people: u32,
    /// Records whose decisions are written to the log as well, after those that are not; 0 for none
    #[arg(long, default_value_t = 50_000)]
    logged: u64,
    /// Threads that look ahead
    #[arg(long, default_value_t = ahead::threads())]
    threads: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Records that are made together, and decisions that are appended together.
const BATCH: usize = 4 * ahead::PARTS * TOGETHER;

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let population = Linkage::generate(options.common.seed, options.people as usize);
    let mut truth = Truth::new(&population);
    let before = bed::resident_bytes(std::process::id())?;
    let mut linker = Linker::new(options.threads)?;
    let mut records = population.records();
    loop {
        // Made beforehand, a few at a time: there may be millions.
        let batch: Vec<LinkageRecord> = records.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        let decisions = linker.hear(&batch);
        batch.iter().zip(&decisions).for_each(|(record, decision)| truth.hear(record, decision));
    }
    let index_bytes = bed::resident_bytes(std::process::id())?.saturating_sub(before).saturating_sub(truth.bytes());
    figures.add("people", population.len() as f64, "");
    linker.tell(&mut figures);
    figures.add("index_bytes", index_bytes as f64, "B");
    truth.tell(&linker.index, &population, &mut figures)?;
    if options.logged > 0 {
        drop(linker);
        logged(&options, &population, &mut figures).await?;
    }
    Ok(figures)
}

/// Hears records and writes each decision to an embedded log, the next ones being decided on while it writes.
async fn logged(options: &Options, population: &Linkage, figures: &mut Figures) -> anyhow::Result<()> {
    let site = bed::Site::new(&options.common)?;
    bed::measure_fsync(site.path(), figures)?;
    let log = stores::open_log(&site.config).await?;
    let records: Vec<LinkageRecord> =
        population.records().take(usize::try_from(options.logged).unwrap_or(usize::MAX)).collect();
    let mut linker = Linker::new(options.threads)?;
    let start = Instant::now();
    let mut offset = 0;
    let mut writing: Option<JoinHandle<_>> = None;
    for batch in records.chunks(BATCH) {
        let mut drafts = Vec::with_capacity(batch.len());
        for (record, decision) in batch.iter().zip(linker.hear(batch)) {
            drafts.push(draft(record, decision, Stream::Feed.partition(0).at(offset)));
            offset += 1;
        }
        if let Some(writing) = writing.take() {
            writing.await??;
        }
        let log = log.clone();
        writing = Some(tokio::spawn(async move { log.append(drafts).await }));
    }
    if let Some(writing) = writing {
        writing.await??;
    }
    let took = start.elapsed();
    log.close().await;
    figures.add("logged_records", records.len() as f64, "");
    figures.add("logged_records_per_second", records.len() as f64 / took.as_secs_f64(), "1/s");
    Ok(())
}

fn draft(record: &LinkageRecord, decision: Decision, cause: Position) -> Draft {
    let id = SourceRecordId {
        organisation: "RYJ".to_owned(),
        system: "MRN".to_owned(),
        value: format!("{}{}", record.person, record.turn),
    };
    let payload = Payload::RecordLinked(decision.into_event(id));
    Decided { subject: pseudonym(record).0, payload }.draft(cause, SystemClock.now_us())
}

/// A linker without its role.
struct Linker {
    index: Index,
    model: Model,
    threads: usize,
    heard: u64,
    took: Duration,
    /// On processors, of all threads that look ahead.
    ahead_on_cpu: Duration,
    deciding_on_cpu: Duration,
    nanos: Histogram<u32>,
    candidates: u64,
}

/// Records that are looked ahead at together.
struct Part<'a> {
    records: &'a [LinkageRecord],
    waiting: Vec<Waiting>,
    took: Duration,
    on_cpu: Duration,
}

impl Linker {
    fn new(threads: usize) -> anyhow::Result<Self> {
        Ok(Self {
            index: Index::new(),
            model: Model::shipped().context("the model that ships")?,
            threads,
            heard: 0,
            took: Duration::ZERO,
            ahead_on_cpu: Duration::ZERO,
            deciding_on_cpu: Duration::ZERO,
            nanos: Histogram::new_with_bounds(1, 10_000_000_000, 3)?,
            candidates: 0,
        })
    }

    /// Records that have arrived; many are read and looked ahead at before the first of them is decided on.
    fn hear(&mut self, records: &[LinkageRecord]) -> Vec<Decision> {
        let mut decisions = Vec::with_capacity(records.len());
        for records in records.chunks(ahead::PARTS * TOGETHER) {
            let start = Instant::now();
            let part = |records| Part { records, waiting: Vec::new(), took: Duration::ZERO, on_cpu: Duration::ZERO };
            let mut parts: Vec<Part<'_>> = records.chunks(TOGETHER).map(part).collect();
            ahead::each(&mut parts, self.threads, |part| self.look_ahead(part));
            let since = bed::own_on_cpu_time();
            for Part { waiting, took, on_cpu, .. } in parts {
                self.ahead_on_cpu += on_cpu;
                let share = took / u32::try_from(waiting.len()).unwrap_or(u32::MAX);
                decisions.extend(waiting.into_iter().map(|waiting| self.decide(waiting, share)));
            }
            self.deciding_on_cpu += bed::own_on_cpu_time().saturating_sub(since);
            self.took += start.elapsed();
        }
        decisions
    }

    fn look_ahead(&self, part: &mut Part<'_>) {
        let (start, since) = (Instant::now(), bed::own_on_cpu_time());
        let options = weft_link::Options { test_numbers_are_evidence: true };
        let read = |record: &LinkageRecord| Features::from_demographics(&record.demographics, &options);
        part.waiting = part.records.iter().map(|record| Waiting::new(pseudonym(record), read(record))).collect();
        self.index.look_ahead(&mut part.waiting, &self.model);
        (part.took, part.on_cpu) = (start.elapsed(), bed::own_on_cpu_time().saturating_sub(since));
    }

    /// Decides on a record, on whose behalf this was spent before its turn.
    fn decide(&mut self, waiting: Waiting, before: Duration) -> Decision {
        let start = Instant::now();
        let record = waiting.record();
        let decision = self.index.hear(waiting, &self.model);
        self.index.apply(record, &decision);
        let took = before + start.elapsed();
        self.heard += 1;
        self.nanos.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        self.candidates += u64::from(decision.candidates);
        decision
    }

    fn tell(&self, figures: &mut Figures) {
        let records = self.heard as f64;
        let micros = |quantile| self.nanos.value_at_quantile(quantile) as f64 / 1000.0;
        let (keys, skipped) = self.index.keys();
        figures.add("records", records, "");
        figures.add("records_per_second", records / self.took.as_secs_f64(), "1/s");
        let (ahead, deciding) = (self.ahead_on_cpu.as_secs_f64(), self.deciding_on_cpu.as_secs_f64());
        figures.add("looking_ahead_cpu", ahead * 1e6 / records, "us");
        figures.add("deciding_cpu", deciding * 1e6 / records, "us");
        // What it comes to where each thread has a processor to itself.
        let of_cpu = records / (ahead / self.threads.max(1) as f64 + deciding);
        figures.add("records_per_second_of_cpu", of_cpu, "1/s");
        figures.add("p50", micros(0.5), "us");
        figures.add("p99", micros(0.99), "us");
        figures.add("candidates_per_record", self.candidates as f64 / records, "");
        figures.add("keys", keys as f64, "");
        figures.add("keys_skipped", skipped as f64, "");
    }
}

fn pseudonym(record: &LinkageRecord) -> Pseudonym {
    of(record.person, record.turn)
}

/// A pseudonym is a keyed digest; here two multiplications spread as well.
fn of(person: u32, turn: u8) -> Pseudonym {
    let digest = (u64::from(person) << 8 | u64::from(turn)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Pseudonym((u128::from(digest) << 64 | u128::from(digest.rotate_left(29))).to_be_bytes())
}
