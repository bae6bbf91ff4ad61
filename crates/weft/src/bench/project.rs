//! `weft bench project`: projectors as processes of their own, on a log on Kafka and a read model in PostgreSQL. Two against
//! one, each applying the same log to an empty read model; and the time from kill -9 of one of two until nothing lags.
//!
//! One that is killed gives nothing back: its partitions wait until its leases have run out, and most of that time is theirs.
//! Brokers, database and both projectors share the cores of the machine that they run on.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use tokio::time::{sleep, timeout};
use weft_log::SharedLog;
use weft_model::{Cut, Stream};
use weft_readmodel::{LEASE_SECONDS, ReadModel};

use super::{Common, Figures, bed};
use crate::{node::reaches, stores};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Brokers that the log is kept on: HOST:PORT,...
    #[arg(long, value_name = "BROKERS")]
    kafka: String,
    /// The database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    postgres: String,
    /// Messages in the log
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// People that the messages are about
    #[arg(long, default_value_t = 20_000)]
    people: u32,
    /// Messages per second that arrive while a projector is killed
    #[arg(long, default_value_t = 500)]
    rate: u32,
    /// How often one is killed
    #[arg(long, default_value_t = 3)]
    kills: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// The roles of the processes.
const ROLE: [&str; 1] = ["project"];
/// How much of the log is applied before the clock runs: by then the partitions are shared.
const UNTIMED: u64 = 5;
/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// What was stored is projected within so long where nothing lags.
const PROMPT: Duration = Duration::from_millis(500);
/// From one batch that arrives to the next.
const ARRIVE_EVERY: Duration = Duration::from_millis(100);
/// So long after the kill its partitions certainly lag.
const LAGS_AFTER: Duration = Duration::from_secs(1);

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let site = bed::Site::on_services(&options.common, &options.kafka, &options.postgres)?;
    bed::measure_fsync(site.path(), &mut figures)?;
    let arriving = u64::from(options.rate) * 60 * u64::from(options.kills);
    let (stored, total) = (options.messages as usize, (options.messages + arriving) as usize);
    let mut messages = weft_synth::bench_messages(options.common.seed, total, options.people as usize);
    let mut filler = site.filler().await?;
    let reader = filler.register(&weft_synth::bench_feed()).await?;
    let start = Instant::now();
    for message in messages.by_ref().take(stored) {
        filler.put(&reader, message).await?;
    }
    filler.flush().await?;
    figures.add("messages_stored", options.messages as f64, "");
    figures.add("translate_and_append_per_second", stored as f64 / start.elapsed().as_secs_f64(), "1/s");

    let sizes = sizes(&filler.log()).await?;
    // It ends with what else there was of it: another may not go on where the read model is taken away.
    let one = apply_all(&site, &sizes, 1).await?.per_second;
    figures.add("one_projector_events_per_second", one, "1/s");
    let two = apply_all(&site, &sizes, 2).await?;
    figures.add("two_projectors_events_per_second", two.per_second, "1/s");
    figures.add("speed_up", two.per_second / one, "");

    let seconds = kill_one_of(two, &site, filler, &reader, messages, &options).await?;
    figures.add("kill_to_no_lag_median_s", seconds.get(seconds.len() / 2).copied().unwrap_or(0.0), "s");
    figures.add("kill_to_no_lag_max_s", seconds.last().copied().unwrap_or(0.0), "s");
    Ok(figures)
}

/// Projectors that have applied the whole log.
struct Applied {
    model: ReadModel,
    processes: Vec<bed::Process>,
    per_second: f64,
}

/// Applies the log to a new read model with so many projectors.
async fn apply_all(site: &bed::Site, sizes: &Cut, projectors: usize) -> anyhow::Result<Applied> {
    // Leases of those that were killed before run out.
    sleep(Duration::from_secs(u64::from(LEASE_SECONDS) + 1)).await;
    let location = stores::model_location(&site.config);
    ReadModel::remove(&location).await?;
    let model = stores::open_model(&site.config).await?;
    let mut processes = Vec::new();
    for _ in 0..projectors {
        processes.push(bed::Process::serve(site, &ROLE)?);
    }
    let all = total(sizes);
    let first = reached(&model, |known| total(known) * UNTIMED >= all).await?;
    let (start, timed) = (Instant::now(), all - total(&first));
    reached(&model, |known| reaches(known, sizes)).await?;
    Ok(Applied { model, processes, per_second: timed as f64 / start.elapsed().as_secs_f64() })
}

/// While messages arrive, kills one projector after the other, and starts another in its place. Returns how long it took
/// each time until nothing lagged, ascending.
async fn kill_one_of(
    applied: Applied,
    site: &bed::Site,
    mut filler: bed::Filler,
    reader: &bed::Reader,
    mut messages: impl Iterator<Item = Vec<u8>>,
    options: &Options,
) -> anyhow::Result<Vec<f64>> {
    let Applied { model, mut processes, .. } = applied;
    let batch = (f64::from(options.rate) * ARRIVE_EVERY.as_secs_f64()).ceil() as usize;
    let log = filler.log();
    let killing = async {
        let mut seconds = Vec::new();
        for _ in 0..options.kills {
            // Everybody has a share, and nothing lags.
            sleep(Duration::from_secs(4)).await;
            no_lag(&model, &log).await?;
            let killed = processes.remove(0).kill()?;
            sleep(LAGS_AFTER).await;
            no_lag(&model, &log).await?;
            seconds.push(killed.elapsed().as_secs_f64());
            processes.push(bed::Process::serve(site, &ROLE)?);
        }
        anyhow::Ok(seconds)
    };
    let arriving = async {
        let mut tick = tokio::time::interval(ARRIVE_EVERY);
        loop {
            tick.tick().await;
            for message in messages.by_ref().take(batch) {
                filler.put(reader, message).await?;
            }
            filler.flush().await?;
        }
    };
    let mut seconds = tokio::select! {
        seconds = killing => seconds?,
        ended = arriving => return ended,
    };
    filler.finish().await?;
    seconds.sort_by(f64::total_cmp);
    Ok(seconds)
}

/// Waits until what has just been stored is promptly projected.
async fn no_lag(model: &ReadModel, log: &SharedLog) -> anyhow::Result<()> {
    loop {
        let sizes = sizes(log).await?;
        let start = Instant::now();
        reached(model, |known| reaches(known, &sizes)).await?;
        if start.elapsed() < PROMPT {
            return Ok(());
        }
    }
}

/// Waits until what is projected is as wanted; what is then.
async fn reached(model: &ReadModel, wanted: impl Fn(&Cut) -> bool) -> anyhow::Result<Cut> {
    let mut changes = model.changes();
    let waiting = async {
        loop {
            changes.borrow_and_update();
            let known = model.known_at();
            if wanted(&known) {
                return Ok(known);
            }
            changes.changed().await.context("the read model has ended")?;
        }
    };
    match timeout(PATIENCE, waiting).await {
        Ok(known) => known,
        Err(_) => bail!("the projectors are stuck at {}", model.known_at()),
    }
}

/// How many messages there are in each partition.
async fn sizes(log: &SharedLog) -> anyhow::Result<Cut> {
    let mut sizes = Cut::default();
    for partition in log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed) {
        sizes.0.insert(partition, log.size(partition).await?);
    }
    Ok(sizes)
}

fn total(cut: &Cut) -> u64 {
    cut.0.values().sum()
}
