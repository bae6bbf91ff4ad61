//! `weft replay`: the read model made again from the log, beside the live one.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use weft_log::{EmbeddedLog, SharedLog};
use weft_model::Cut;
use weft_readmodel::ReadModel;

use crate::{commands::Exit, config::Config, node, output};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Compare with the live read model at the cut that it has reached; different tables end with exit code 1
    #[arg(long)]
    compare: bool,
    /// Replay up to a cut, for example feed/0/120,identity/0/80 [default: the log's end]
    #[arg(long, value_name = "CUT", conflicts_with = "compare")]
    as_of: Option<Cut>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: &Path, options: Options) -> anyhow::Result<Exit> {
    let config = Config::read(config)?;
    let log = EmbeddedLog::open_read_only(config.log_dir(), node::open_vault(&config)?).await?;
    let log: SharedLog = Arc::new(log);
    let beside = tempfile::Builder::new().prefix("replay-").tempdir_in(&config.data).context("cannot make a folder")?;
    // The cut that the live model has reached; it may grow meanwhile, and is compared as of this cut.
    let live = if options.compare {
        Some(ReadModel::open(&config.model_path()).await.context("cannot open the live read model")?)
    } else {
        None
    };
    let upto = live.as_ref().map(ReadModel::known_at).or(options.as_of);
    let path = beside.path().join("readmodel.db");
    let report = weft_readmodel::rebuild(log.clone(), &path, upto.as_ref()).await?;
    log.close().await;
    let rebuilt = ReadModel::open(&path).await?;
    let tables = rebuilt.digest(None).await?;
    let differences = match &live {
        Some(live) => Some(live.differences(&rebuilt, &report.known_at).await?),
        None => None,
    };
    let differs = |table: &str| differences.iter().flatten().any(|d| d.left.table == table);
    let equal = differences.as_ref().map(Vec::is_empty);
    if options.json {
        let sizes = report.known_at.0.iter().map(|(partition, size)| (partition.to_string(), json!(size)));
        let digests = tables.iter().map(|t| (t.table.to_owned(), json!({"rows": t.rows, "hash": t.hash})));
        output::json_line(&json!({
            "equal": equal,
            "different": tables.iter().filter(|t| differs(t.table)).map(|t| t.table).collect::<Vec<_>>(),
            "known_at": sizes.collect::<serde_json::Map<_, _>>(),
            "tables": digests.collect::<serde_json::Map<_, _>>(),
            "seconds": report.took.as_secs_f64(),
        }))?;
    } else {
        let seconds = report.took.as_secs_f64();
        let mut text = format!("replayed {} events to {} in {seconds:.1} s\n", report.events, report.known_at);
        for table in &tables {
            let verdict = match equal {
                None => "",
                Some(_) if differs(table.table) => "  DIFFERS from live",
                Some(_) => "  equal to live",
            };
            text.push_str(&format!("{:<24} {:>10} rows  {}{verdict}\n", table.table, table.rows, table.hash));
        }
        output::data(&text)?;
    }
    Ok(if equal == Some(false) { Exit::Failed } else { Exit::Done })
}
