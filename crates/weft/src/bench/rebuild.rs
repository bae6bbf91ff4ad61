//! `weft bench rebuild`: dropping the read model and making it again from the log.

use std::time::Instant;

use super::{Common, Figures, bed};
use crate::{node::Node, roles::Roles, stores};
use clap::Args;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Messages in the log
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// People that the messages are about
    #[arg(long, default_value_t = 20_000)]
    people: u32,
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
    let report = weft_readmodel::rebuild(log.clone(), &target, None, weft_readmodel::Repeats::Never).await?;
    figures.add("events", report.events as f64, "");
    figures.add("rebuild_events_per_second", report.events_per_second(), "1/s");
    log.close().await;
    let rebuilt = weft_readmodel::ReadModel::open(&target).await?;
    let differences = live.differences(&rebuilt, &report.known_at).await?;
    figures.add("tables_that_differ_from_live", differences.len() as f64, "");
    figures.add("read_model_bytes", std::fs::metadata(&target)?.len() as f64, "B");
    Ok(figures)
}
