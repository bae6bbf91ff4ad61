//! `weft bench rebuild`: dropping the read model and making it again from the log, in a file and, with `--postgres`, in a
//! database.

use std::time::Instant;

use super::{Common, Figures, bed};
use clap::Args;
use weft_log::SharedLog;
use weft_readmodel::{Location, ReadModel, Repeats};

use crate::{node::Node, roles::Roles, stores};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Messages in the log
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// People that the messages are about
    #[arg(long, default_value_t = 20_000)]
    people: u32,
    /// Also rebuild from the same log into this database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL")]
    postgres: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let site = bed::Site::new(&options.common)?;
    bed::measure_fsync(site.path(), &mut figures)?;
    let people = options.people as usize;
    let start = Instant::now();
    let mut filler = site.filler().await?;
    filler.put_plain(weft_synth::bench_messages(options.common.seed, options.messages as usize, people)).await?;
    let filled = filler.finish().await?;
    figures.add("translate_and_append_per_second", filled as f64 / start.elapsed().as_secs_f64(), "1/s");

    // The live node links and projects first, so that the log also has its decisions.
    let node = Node::start(&site.config, &Roles::all()).await?;
    let start = Instant::now();
    node.caught_up().await?;
    figures.add("live_link_and_project_per_second", filled as f64 / start.elapsed().as_secs_f64(), "1/s");
    let live = node.model.clone();
    node.stop().await;

    let log = stores::open_log(&site.config).await?;
    let target = site.path().join("rebuilt.db");
    rebuild(&log, &live, Location::from(&target), &mut figures).await?;
    figures.add("read_model_bytes", std::fs::metadata(&target)?.len() as f64, "B");
    if let Some(url) = options.postgres {
        const POSTGRES: &str = "postgres_";
        let location = Location::Postgres { url, schema: bed::name_of_run() };
        figures.measured_at(POSTGRES);
        let rebuilt = rebuild(&log, &live, location.clone(), &mut figures).await;
        ReadModel::remove(&location).await?;
        rebuilt?;
        figures.measured_at("");
        figures.add_ratio("rebuild_events_per_second", POSTGRES);
    }
    log.close().await;
    Ok(figures)
}

/// Rebuilds at `location`, and compares what is there then with the live read model. The time of processors is this
/// process's: a database server has its own.
async fn rebuild(log: &SharedLog, live: &ReadModel, location: Location, figures: &mut Figures) -> anyhow::Result<()> {
    let cpu = bed::cpu_seconds()?;
    let report = weft_readmodel::rebuild(log.clone(), &location, None, Repeats::Never).await?;
    let cpu = bed::cpu_seconds()? - cpu;
    figures.add("events", report.events as f64, "");
    figures.add("rebuild_events_per_second", report.events_per_second(), "1/s");
    figures.add("rebuild_cpu_us_per_event", cpu * 1e6 / report.events as f64, "us");
    let rebuilt = ReadModel::open(&location).await?;
    let differences = live.differences(&rebuilt, &report.known_at).await?;
    figures.add("tables_that_differ_from_live", differences.len() as f64, "");
    Ok(rebuilt.close().await?)
}
