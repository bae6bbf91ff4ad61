//! `weft bench link`: records of a generated population decided on as they arrive, with and without writing each decision to
//! the log. What is counted is reading the demographics, finding, comparing, deciding and remembering; making the records
//! is not. Records that have arrived are looked ahead at together, as by a linker that is behind. The truth is known, so the
//! figures tell too how well it was done.

mod score;

use std::{
    collections::VecDeque,
    convert::Infallible,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use tokio::{sync::watch, task::JoinHandle};
use weft_link::{Decision, Features, Index, Model, TOGETHER, Waiting};
use weft_log::{AppendError, Draft, ReadLimit, Same};
use weft_model::{Clock, Payload, Position, Pseudonym, SourceRecordId, Verdict, proto::event::MessageReceived};
use weft_synth::{Linkage, LinkageRecord};

use super::{Common, Figures, bed};
use crate::{
    linker::{
        PAGES_ON_THEIR_WAY,
        ahead::{self, Steps},
        deciding::Decided,
    },
    stores,
    system::SystemClock,
};
use score::Truth;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// People; each has 2.3 records on the mean
    #[arg(long, default_value_t = 200_000)]
    people: u32,
    /// Records whose decisions are written to the log as well: the last ones; 0 for none
    #[arg(long, default_value_t = 50_000)]
    logged: u64,
    /// Threads that look ahead
    #[arg(long, default_value_t = ahead::threads())]
    threads: usize,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Records that are made together. There may be millions in all.
const BATCH: usize = 16 * ahead::PARTS * TOGETHER;
/// Decisions that are appended together: as many as the linker's role makes at once.
const PAGE: usize = ReadLimit::PAGE.events;

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let population = Linkage::generate(options.common.seed, options.people as usize);
    let mut truth = Truth::new(&population);
    let before = bed::resident_bytes(std::process::id())?;
    let mut linker = Linker::new(options.threads)?;
    let mut records = population.records();
    // The last ones are held back: they come when all the others are known.
    let mut held: VecDeque<LinkageRecord> = VecDeque::new();
    let logged = usize::try_from(options.logged)?;
    loop {
        let made = held.len();
        held.extend(records.by_ref().take(logged + BATCH - made));
        // Of a few that are held back all together, half.
        let kept = if linker.tally.heard == 0 { logged.min(held.len() / 2) } else { logged };
        if held.len() <= kept {
            break;
        }
        let batch: Vec<LinkageRecord> = held.drain(..held.len() - kept).collect();
        truth.hear(&batch, &linker.hear(&batch));
    }
    let index_bytes = bed::resident_bytes(std::process::id())?.saturating_sub(before).saturating_sub(truth.bytes());
    linker.tally.tell(&linker.index, &mut figures);
    figures.add("index_bytes", index_bytes as f64, "B");
    if !held.is_empty() {
        let held: Vec<LinkageRecord> = held.into();
        let decisions = logged_decisions(&options, &mut linker, &held, &mut figures).await?;
        truth.hear(&held, &decisions);
    }
    figures.add("people", population.len() as f64, "");
    truth.tell(&linker.index, &population, &mut figures)?;
    Ok(figures)
}

/// Hears records and writes each decision to an embedded log, as the linker's role does: the next ones are decided on while
/// it writes, and made ready while it stores. The log has the messages that told of the records.
async fn logged_decisions(
    options: &Options,
    linker: &mut Linker,
    records: &[LinkageRecord],
    figures: &mut Figures,
) -> anyhow::Result<Vec<Decision>> {
    let site = bed::Site::new(&options.common)?;
    bed::measure_fsync(site.path(), figures)?;
    let log = stores::open_log(&site.config).await?;
    let mut causes = Vec::with_capacity(records.len());
    for records in records.chunks(PAGE) {
        let receipts = log.append(records.iter().map(message).collect()).await?;
        causes.extend(receipts.into_iter().map(|receipt| receipt.position));
    }
    let (start, mut all) = (Instant::now(), Vec::with_capacity(records.len()));
    let mut on_their_way: VecDeque<JoinHandle<Result<_, AppendError>>> = VecDeque::new();
    let mut before = watch::channel(true).1;
    for (records, causes) in records.chunks(PAGE).zip(causes.chunks(PAGE)) {
        let decisions = linker.hear(records);
        let of = records.iter().zip(&decisions).zip(causes);
        let drafts = of.map(|((record, decision), cause)| draft(record, decision.clone(), *cause)).collect();
        all.extend(decisions);
        let (tell, stored) = watch::channel(false);
        let (log, before) = (log.clone(), std::mem::replace(&mut before, stored));
        on_their_way.push_back(tokio::spawn(async move {
            let receipts = log.append_after(before, drafts).await?;
            tell.send_replace(true);
            Ok(receipts)
        }));
        while on_their_way.len() > PAGES_ON_THEIR_WAY
            && let Some(first) = on_their_way.pop_front()
        {
            first.await??;
        }
    }
    for last in on_their_way {
        last.await??;
    }
    let took = start.elapsed();
    log.close().await;
    figures.add("logged_records", records.len() as f64, "");
    figures.add("logged_records_per_second", records.len() as f64 / took.as_secs_f64(), "1/s");
    Ok(all)
}

/// The message that told of a record.
fn message(record: &LinkageRecord) -> Draft {
    Draft {
        same: Same::Message,
        feed: "bench".to_owned(),
        control_id: format!("{}-{}", record.person, record.turn),
        message_type: "ADT^A28".to_owned(),
        verdict: Verdict::Accepted,
        received_us: SystemClock.now_us(),
        cause: None,
        payload: Payload::MessageReceived(MessageReceived {
            record: Some(id(record)),
            demographics: Some(record.demographics.clone()),
            ..MessageReceived::default()
        }),
    }
}

fn draft(record: &LinkageRecord, decision: Decision, cause: Position) -> Draft {
    let payload = Payload::RecordLinked(decision.into_event(id(record)));
    Decided { subject: pseudonym(record).0, payload }.draft(cause, SystemClock.now_us())
}

fn id(record: &LinkageRecord) -> SourceRecordId {
    SourceRecordId {
        organisation: "RYJ".to_owned(),
        system: "MRN".to_owned(),
        value: format!("{}-{}", record.person, record.turn),
    }
}

/// A linker without its role.
struct Linker {
    index: Index,
    model: Model,
    threads: usize,
    tally: Tally,
}

/// What deciding came to.
struct Tally {
    heard: u64,
    took: Duration,
    /// On processors: reading, looking ahead, and deciding in turn.
    on_cpu: [Duration; 3],
    nanos: Histogram<u32>,
    candidates: u64,
}

/// Records that are looked ahead at together.
struct Part<'a> {
    records: &'a [LinkageRecord],
    waiting: Vec<Waiting>,
    read: Spent,
    looked: Spent,
}

#[derive(Default)]
struct Spent {
    time: Duration,
    on_cpu: Duration,
}

impl Linker {
    fn new(threads: usize) -> anyhow::Result<Self> {
        let nanos = Histogram::new_with_bounds(1, 10_000_000_000, 3)?;
        let tally = Tally { heard: 0, took: Duration::ZERO, on_cpu: Default::default(), nanos, candidates: 0 };
        Ok(Self { index: Index::new(), model: Model::shipped().context("the model that ships")?, threads, tally })
    }

    /// Records that have arrived; many are read and looked ahead at before the first of them is decided on.
    fn hear(&mut self, records: &[LinkageRecord]) -> Vec<Decision> {
        let Self { index, model, tally, threads } = self;
        let (start, mut decisions) = (Instant::now(), Vec::with_capacity(records.len()));
        let mut parts: Vec<Part<'_>> = records.chunks(TOGETHER).map(Part::new).collect();
        let steps = Steps {
            read: Part::read,
            look: |index: &Index, part: &mut Part<'_>| part.look_ahead(index, model),
            turn: |index: &mut Index, part: &mut Part<'_>| {
                decisions.extend(tally.decide(part, index, model));
                Ok::<(), Infallible>(())
            },
        };
        match ahead::in_turns(&mut parts, index, *threads, steps) {
            Ok(()) => {}
        }
        tally.took += start.elapsed();
        decisions
    }
}

impl<'a> Part<'a> {
    fn new(records: &'a [LinkageRecord]) -> Self {
        Self { records, waiting: Vec::new(), read: Spent::default(), looked: Spent::default() }
    }

    fn read(&mut self) {
        self.read = Spent::by(|| {
            let options = weft_link::Options { test_numbers_are_evidence: true };
            let read = |record: &LinkageRecord| Features::from_demographics(&record.demographics, &options);
            self.waiting = self.records.iter().map(|record| Waiting::new(pseudonym(record), read(record))).collect();
        });
    }

    fn look_ahead(&mut self, index: &Index, model: &Model) {
        self.looked = Spent::by(|| index.look_ahead(&mut self.waiting, model));
    }
}

impl Spent {
    fn by(work: impl FnOnce()) -> Self {
        let (start, since) = (Instant::now(), bed::own_on_cpu_time());
        work();
        Self { time: start.elapsed(), on_cpu: bed::own_on_cpu_time().saturating_sub(since) }
    }
}

impl Tally {
    /// Decides on the records of a part in their turn.
    fn decide(&mut self, part: &mut Part<'_>, index: &mut Index, model: &Model) -> Vec<Decision> {
        let (since, waiting) = (bed::own_on_cpu_time(), std::mem::take(&mut part.waiting));
        let mut decisions = Vec::with_capacity(waiting.len());
        let ready = Spent::by(|| index.ready(&waiting));
        let together = part.read.time + part.looked.time + ready.time;
        let before = together / u32::try_from(waiting.len()).unwrap_or(u32::MAX);
        for waiting in waiting {
            let (start, record) = (Instant::now(), waiting.record());
            let decision = index.hear(waiting, model);
            index.apply(record, &decision);
            let took = before + start.elapsed();
            self.nanos.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            self.candidates += u64::from(decision.candidates);
            decisions.push(decision);
        }
        self.heard += decisions.len() as u64;
        self.on_cpu[0] += part.read.on_cpu;
        self.on_cpu[1] += part.looked.on_cpu;
        self.on_cpu[2] += bed::own_on_cpu_time().saturating_sub(since);
        decisions
    }

    fn tell(&self, index: &Index, figures: &mut Figures) {
        let records = self.heard as f64;
        let micros = |quantile| self.nanos.value_at_quantile(quantile) as f64 / 1000.0;
        let (keys, skipped) = index.keys();
        figures.add("records", records, "");
        figures.add("records_per_second", records / self.took.as_secs_f64(), "1/s");
        for (name, on_cpu) in ["reading_cpu", "looking_ahead_cpu", "deciding_cpu"].into_iter().zip(self.on_cpu) {
            figures.add(name, on_cpu.as_secs_f64() * 1e6 / records, "us");
        }
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
