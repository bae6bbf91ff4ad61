//! `weft verify`: whether the log is what was signed; or, with `--proof`, whether one event was in it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use weft_log::{EventProof, VerifyOptions, VerifyReport};
use weft_model::proto::event::When;

use crate::{
    commands::{Exit, failure},
    config::Config,
    notary, output, stores,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Also open every event whose key is there, and check it against its header
    #[arg(long)]
    deep: bool,
    /// Check this proof, made by `weft log prove`, and nothing else: needs no configuration and no log
    #[arg(long, value_name = "FILE", conflicts_with_all = ["deep", "checkpoint"], requires = "key")]
    proof: Option<PathBuf>,
    /// The notary's public key, or a file with it [default: notary.pub beside the configuration]
    #[arg(long, value_name = "PUBLIC")]
    key: Option<String>,
    /// A checkpoint from elsewhere that the log must contain, beside the one that is remembered with the keys
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config_file: &Path, options: Options) -> anyhow::Result<Exit> {
    if let Some(proof) = &options.proof {
        return check_proof(config_file, proof, &options);
    }
    let config = Config::read(config_file)?;
    let key = notary::public_key(options.key.as_deref(), config_file, Some(&config))?;
    let (evidence, deep) = if options.deep {
        let (evidence, vault) = stores::open_evidence_and_keys(&config).await?;
        (evidence, Some(vault))
    } else {
        (stores::open_evidence(&config).await?, None)
    };
    let checkpoints = checkpoints(&config, &options)?;
    let start = Instant::now();
    let report = weft_log::verify(evidence, VerifyOptions { key, deep, checkpoints }).await?;
    let seconds = start.elapsed().as_secs_f64();
    if options.json {
        output::json_line(&as_json(&report, seconds))?;
    } else {
        output::data(&as_text(&report, options.deep, seconds))?;
    }
    Ok(if report.damages.is_empty() { Exit::Done } else { Exit::Failed })
}

/// What the log must contain: what is remembered beside the keys, and what the auditor brought.
fn checkpoints(config: &Config, options: &Options) -> anyhow::Result<Vec<(String, String)>> {
    let remembered = notary::remembered(config);
    let mut checkpoints = Vec::new();
    let kept = remembered.read().with_context(|| format!("cannot read {}", remembered.path().display()))?;
    checkpoints.extend(kept.map(|checkpoint| (remembered.path().display().to_string(), checkpoint)));
    for path in &options.checkpoint {
        let checkpoint = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        checkpoints.push((path.display().to_string(), checkpoint));
    }
    Ok(checkpoints)
}

fn check_proof(config_file: &Path, path: &Path, options: &Options) -> anyhow::Result<Exit> {
    let key = notary::public_key(options.key.as_deref(), config_file, None)?;
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let proven = match EventProof::parse(&text).and_then(|proof| proof.verify(&key)) {
        Ok(proven) => proven,
        Err(error) if options.json => {
            output::json_line(&json!({"proven": false, "reason": chain(&error)}))?;
            return Ok(Exit::Failed);
        }
        Err(error) => return Err(failure(Exit::Failed, format!("not proven: {}", chain(&error)))),
    };
    let taken = When::instant(proven.recorded_us).to_fhir().unwrap_or_default();
    let kind = proven.header.kind().as_str_name().to_lowercase();
    if options.json {
        output::json_line(&json!({
            "proven": true,
            "position": proven.position.to_string(),
            "event_id": proven.header.id().to_string(),
            "kind": kind,
            "tick": proven.tick,
            "taken": taken,
            "log": proven.origin,
        }))?;
    } else {
        output::data(&format!(
            "proven: event {} ({kind}) lay at {} of the log {} when cut {} was taken, {taken}\n",
            proven.header.id(),
            proven.position,
            proven.origin,
            proven.tick
        ))?;
    }
    Ok(Exit::Done)
}

fn as_text(report: &VerifyReport, deep: bool, seconds: f64) -> String {
    let mut text = String::new();
    for part in &report.partitions {
        let beyond = part.events.saturating_sub(part.covered);
        let beyond = if beyond == 0 { String::new() } else { format!(", {beyond} beyond the newest cut") };
        text.push_str(&format!("{:<12} {:>12} events{beyond}\n", part.partition.to_string(), part.events));
    }
    match &report.newest {
        Some(cut) => {
            let taken = When::instant(cut.recorded_us).to_fhir().unwrap_or_default();
            text.push_str(&format!("{} cuts, the newest is {} of {taken}\n", report.cuts, cut.tick));
        }
        None => text.push_str("no cut: the events are only compared with their own hashes\n"),
    }
    if deep {
        text.push_str(&format!("{} events opened, the keys of {} were destroyed\n", report.opened, report.shredded));
    }
    for damage in &report.damages {
        text.push_str(&format!("{damage}\n"));
    }
    if report.more_damages > 0 {
        text.push_str(&format!("and {} more\n", report.more_damages));
    }
    let verdict = if report.damages.is_empty() { "whole" } else { "DAMAGED" };
    let events: u64 = report.partitions.iter().map(|part| part.events).sum();
    let a_second = events as f64 / seconds.max(f64::EPSILON);
    text.push_str(&format!("{verdict}, verified in {seconds:.1} s ({a_second:.0} events/s)\n"));
    text
}

fn as_json(report: &VerifyReport, seconds: f64) -> Value {
    let partitions = report.partitions.iter().map(|part| {
        let beyond = part.events.saturating_sub(part.covered);
        (part.partition.to_string(), json!({"events": part.events, "covered": part.covered, "beyond": beyond}))
    });
    let damages = report
        .damages
        .iter()
        .map(|damage| json!({"kind": damage.kind.code(), "place": damage.place.to_string(), "what": damage.what}));
    json!({
        "whole": report.damages.is_empty(),
        "partitions": partitions.collect::<serde_json::Map<_, _>>(),
        "cuts": report.cuts,
        "newest": report.newest.as_ref().map(|cut| json!({
            "tick": cut.tick,
            "taken": When::instant(cut.recorded_us).to_fhir().unwrap_or_default(),
            "sizes": cut.cut().to_string(),
        })),
        "opened": report.opened,
        "shredded": report.shredded,
        "damages": damages.collect::<Vec<_>>(),
        "more_damages": report.more_damages,
        "seconds": seconds,
    })
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
