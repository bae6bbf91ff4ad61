//! `weft log cut` and `weft log prove`: what the notary wrote down, and proofs of it that leave the house.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weft_log::{Evidence, Taken, cut};
use weft_model::{AsOf, Position, hex, proto::event::When};

use crate::{
    commands::{Exit, failure},
    config::Config,
    notary, output,
    system::SystemClock,
    table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List cuts, newest last
    List(List),
    /// Show one cut: what every partition held, and the signed checkpoint
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Start at this tick [default: so that the newest are shown]
    #[arg(long)]
    from: Option<u64>,
    /// At most this many
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// A tick (42) or a time (2026-03-01T09:30:00Z: the greatest cut not after it) [default: the newest cut]
    #[arg(value_name = "MOMENT")]
    moment: Option<AsOf>,
    /// Print the checkpoint alone, to be kept elsewhere: `weft verify --checkpoint` asks for it
    #[arg(long, conflicts_with = "json")]
    checkpoint: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Prove {
    /// The event, for example feed/0/1234
    position: Position,
    /// Write the proof to this file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// By the cut with this tick [default: the newest]
    #[arg(long, value_name = "TICK")]
    cut: Option<u64>,
}

pub(crate) async fn run(log: &dyn Evidence, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(options) => list(log, &options).await,
        Command::Show(options) => show(log, &options).await,
    }
}

async fn list(log: &dyn Evidence, options: &List) -> anyhow::Result<Exit> {
    let newest = cut::newest(log).await?.map_or(0, |cut| cut.tick + 1);
    let from = options.from.unwrap_or(newest.saturating_sub(options.limit as u64));
    let cuts = cut::list(log, from, options.limit).await?;
    if options.json {
        cuts.iter().try_for_each(|cut| output::json_line(&as_json(cut)))?;
        return Ok(Exit::Done);
    }
    let row = |cut: &Taken| vec![cut.tick.to_string(), time(cut), cut.position.to_string(), cut.cut().to_string()];
    let rows: Vec<Vec<String>> = cuts.iter().map(row).collect();
    output::data(&table::render(&["TICK", "TAKEN", "AT", "SIZES"], &rows))?;
    Ok(Exit::Done)
}

async fn show(log: &dyn Evidence, options: &Show) -> anyhow::Result<Exit> {
    let cut = match &options.moment {
        None => cut::newest(log).await?,
        Some(AsOf::Tick(tick)) => cut::with_tick(log, *tick).await?,
        Some(AsOf::Time(us)) => cut::by_time(log, *us).await?,
        Some(AsOf::Sizes(_)) => {
            return Err(failure(Exit::Refused, "sizes are no cut of the notary: name a tick or a time"));
        }
    };
    let cut = cut.ok_or_else(|| failure(Exit::NotFound, "there is no such cut"))?;
    if options.checkpoint {
        output::data(&cut.checkpoint)?;
    } else if options.json {
        output::json_line(&as_json(&cut))?;
    } else {
        let mut text = format!("cut {} taken {} at {}\n\n", cut.tick, time(&cut), cut.position);
        let row = |(partition, root): (&weft_model::Partition, &cut::Root)| {
            vec![partition.to_string(), root.size.to_string(), hex(&root.root)]
        };
        let rows: Vec<Vec<String>> = cut.partitions.iter().map(row).collect();
        for row in &rows {
            text.push_str(&row.join("  "));
            text.push('\n');
        }
        output::data(&format!("{text}\n{}", cut.checkpoint))?;
    }
    Ok(Exit::Done)
}

/// Writes the proof of one event.
pub(crate) async fn prove(config: &Config, log: &dyn Evidence, options: &Prove) -> anyhow::Result<Exit> {
    let proof = weft_log::prove(log, options.position, options.cut, Some(&notary::nodes(config))).await?;
    fs::write(&options.out, proof.to_text()).with_context(|| format!("cannot write {}", options.out.display()))?;
    crate::talk!("wrote {}: check it with `weft verify --proof FILE --key PUBLIC`, anywhere", options.out.display());
    Ok(Exit::Done)
}

/// The sizes that `--as-of` or `--upto` stands for.
pub(crate) async fn resolve(log: &dyn Evidence, moment: &AsOf) -> anyhow::Result<weft_model::Cut> {
    use weft_model::Clock;
    match cut::resolve(log, moment, SystemClock.now_us()).await {
        Ok(cut) => Ok(cut),
        Err(error @ weft_log::AsOfError::Cut(_)) => Err(error.into()),
        Err(error) => Err(failure(Exit::NotFound, error.to_string())),
    }
}

fn as_json(cut: &Taken) -> Value {
    let partitions = cut
        .partitions
        .iter()
        .map(|(partition, root)| (partition.to_string(), json!({"size": root.size, "root": hex(&root.root)})));
    json!({
        "tick": cut.tick,
        "taken": time(cut),
        "position": cut.position.to_string(),
        "sizes": cut.cut().to_string(),
        "partitions": partitions.collect::<serde_json::Map<_, _>>(),
        "previous": cut.previous.map(|hash| hex(&hash)),
        "leaf": hex(&cut.leaf()),
        "checkpoint": cut.checkpoint,
    })
}

fn time(cut: &Taken) -> String {
    When::instant(cut.recorded_us).to_fhir().unwrap_or_default()
}
