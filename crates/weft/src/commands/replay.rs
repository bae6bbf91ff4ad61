//! `weft replay`: the read model made again from the log, beside the live one.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use aws_lc_rs::digest;
use clap::Args;
use serde_json::json;
use weft_log::LogEvidence;
use weft_model::{AsOf, hex};
use weft_readmodel::{ReadModel, TableDigest};

use crate::{
    commands::{Exit, cut},
    config::Config,
    output, stores,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Compare with the live read model, at the moment of --upto or else at the one that it has reached; tables that differ
    /// end with exit code 1
    #[arg(long)]
    compare: bool,
    /// Replay up to a moment: a tick (42), a time (2026-03-01T09:30:00Z) or sizes (feed/0/120,identity/0/80) [default:
    /// the log's end]
    #[arg(long, value_name = "MOMENT", visible_alias = "as-of")]
    upto: Option<AsOf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: &Path, options: Options) -> anyhow::Result<Exit> {
    let config = Config::read(config)?;
    let log = stores::open_log_read_only(&config).await?;
    std::fs::create_dir_all(&config.data).with_context(|| format!("cannot make {}", config.data.display()))?;
    let beside = tempfile::Builder::new().prefix("replay-").tempdir_in(&config.data).context("cannot make a folder")?;
    // The cut that the live model has reached; it may grow meanwhile, and is compared as of this cut.
    let live = if options.compare { Some(stores::open_model(&config).await?) } else { None };
    let upto = match &options.upto {
        Some(moment) => Some(cut::resolve(&LogEvidence(log.clone()), moment).await?),
        None => live.as_ref().map(ReadModel::known_at),
    };
    let path = beside.path().join("readmodel.db");
    let report = weft_readmodel::rebuild(log.clone(), &path, upto.as_ref(), stores::repeats(&config)).await?;
    log.close().await;
    let rebuilt = ReadModel::open(&path).await?;
    let tables = rebuilt.digest(None).await?;
    let comparison = match &live {
        Some(live) => Some(compare(&tables, &live.digest(Some(&report.known_at)).await?)),
        None => None,
    };
    let equal = comparison.as_ref().map(|tables| tables.values().all(|compared| *compared != Compared::Different));
    let digest = whole_digest(&tables);
    if options.json {
        let sizes = report.known_at.0.iter().map(|(partition, size)| (partition.to_string(), json!(size)));
        let digests = tables.iter().map(|t| (t.table.to_owned(), json!({"rows": t.rows, "hash": t.hash})));
        let with = |wanted| {
            let tables = comparison.iter().flatten().filter(move |(_, compared)| **compared == wanted);
            tables.map(|(table, _)| *table).collect::<Vec<_>>()
        };
        output::json_line(&json!({
            "equal": equal,
            "different": with(Compared::Different),
            "not_compared": with(Compared::NotThen),
            "known_at": sizes.collect::<serde_json::Map<_, _>>(),
            "digest": digest,
            "tables": digests.collect::<serde_json::Map<_, _>>(),
            "seconds": report.took.as_secs_f64(),
        }))?;
    } else {
        let seconds = report.took.as_secs_f64();
        let mut text = format!("replayed {} events to {} in {seconds:.1} s\n", report.events, report.known_at);
        for table in &tables {
            let verdict = match comparison.as_ref().and_then(|tables| tables.get(table.table)) {
                None => "",
                Some(Compared::Equal) => "  equal to live",
                Some(Compared::Different) => "  DIFFERS from live",
                Some(Compared::NotThen) => "  not compared: the live one holds only its newest state",
            };
            text.push_str(&format!("{:<24} {:>10} rows  {}{verdict}\n", table.table, table.rows, table.hash));
        }
        output::data(&format!("{text}digest {digest}\n"))?;
    }
    Ok(if equal == Some(false) { Exit::Failed } else { Exit::Done })
}

/// What became of a table beside the live one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Equal,
    Different,
    /// The live table has moved on, and does not say when its rows were known.
    NotThen,
}

fn compare(rebuilt: &[TableDigest], live: &[TableDigest]) -> BTreeMap<&'static str, Compared> {
    let compared = |table: &TableDigest| match live.iter().find(|live| live.table == table.table) {
        Some(live) if live == table => Compared::Equal,
        Some(_) => Compared::Different,
        None => Compared::NotThen,
    };
    rebuilt.iter().map(|table| (table.table, compared(table))).collect()
}

/// One digest of all tables: two replays to the same moment have the same.
fn whole_digest(tables: &[TableDigest]) -> String {
    let mut lines: Vec<String> = tables.iter().map(|t| format!("{} {} {}\n", t.table, t.rows, t.hash)).collect();
    lines.sort();
    hex(digest::digest(&digest::SHA256, lines.concat().as_bytes()).as_ref())
}
