//! `weft link evaluate`: how well the linker does on a set of which it is known who is who.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use weft_link::{
    Model,
    labelled::{Csv, Figures, KEYS, Map, Records, Truth, pair_scores, run},
};

use super::chart;
use crate::{
    commands::{Exit, failure},
    output,
};

#[derive(Debug, Args)]
#[command(after_long_help = keys_help())]
pub(crate) struct Options {
    /// Tables of records with a header: comma, tab or semicolon separated, quoted or not
    #[arg(required = true, value_name = "RECORDS.csv")]
    records: Vec<PathBuf>,
    /// Which column is which field (TOML): see below, and schemas/linkage/maps for examples
    #[arg(long, value_name = "MAP.toml")]
    map: PathBuf,
    /// Who is who: a column that is the same for records of one person, or a file of pairs of record identifiers
    #[arg(long, value_name = "COLUMN|PAIRS.csv")]
    truth: String,
    /// Let the records arrive in an order of chance [default: as the map or the files have them]
    #[arg(long, value_name = "SEED")]
    order: Option<u64>,
    /// A model file in place of the one that ships
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Draw what every threshold would do into an SVG file
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// The keys of a map, as the help tells them.
fn keys_help() -> String {
    let mut text = "The map names columns by field, one or several: given = \"first_name\", address = [\"line1\", \"line2\"].\n\
                    Columns that it does not name are not looked at; fields that it does not name make no rows. Keys:\n\n"
        .to_owned();
    for (key, meaning) in KEYS {
        text += &format!("  {key:<18} {meaning}\n");
    }
    text += "\nEvery record is decided on once, as it arrives, with the model and threshold that ship. NHS numbers from 900 to\n\
             999, which are never issued, count here like issued ones. Exit codes: 0 done, 1 failed, 5 a file was refused.";
    text
}

pub(crate) fn evaluate(options: &Options) -> anyhow::Result<Exit> {
    let model = model(options.model.as_deref())?;
    let map = refused(Map::parse(&text(&options.map)?), &options.map)?;
    let tables = tables(&options.records)?;
    let pairs = Path::new(&options.truth).is_file().then(|| table(Path::new(&options.truth))).transpose()?;
    let label = pairs.is_none().then_some(options.truth.as_str());
    let mut set = refused(Records::read(&tables, &map, label), &options.map)?;
    if let Some(seed) = options.order {
        set.shuffle(seed);
    }
    let truth = match &pairs {
        Some(pairs) => Truth::from_pairs(&set.records, pairs),
        None => Truth::from_labels(&set.records),
    };
    let truth = truth.map_err(|error| failure(Exit::Refused, error.to_string()))?;
    let start = Instant::now();
    let heard = run(&set.records, &weft_link::Options { test_numbers_are_evidence: true }, &model);
    let seconds = start.elapsed().as_secs_f64();
    let figures = heard.figures(&truth);
    if let Some(path) = &options.chart {
        let svg = chart::draw(&pair_scores(&heard, &truth, &model), &model);
        std::fs::write(path, svg).with_context(|| format!("{}", path.display()))?;
    }
    if options.json {
        output::json_line(&as_json(&figures, &model, seconds, heard.index.keys()))?;
    } else {
        output::data(&as_text(&figures, &model, seconds, heard.index.keys()))?;
    }
    Ok(Exit::Done)
}

/// The model of a file, or the one that ships.
pub(super) fn model(path: Option<&Path>) -> anyhow::Result<Model> {
    match path {
        Some(path) => refused(Model::parse(&text(path)?), path),
        None => Ok(Model::shipped()?),
    }
}

pub(super) fn tables(paths: &[PathBuf]) -> anyhow::Result<Vec<(String, Csv)>> {
    // Named by their place, so that a record is the same record wherever the files lie.
    paths.iter().enumerate().map(|(n, path)| Ok((format!("file {}", n + 1), table(path)?))).collect()
}

fn table(path: &Path) -> anyhow::Result<Csv> {
    refused(Csv::parse(&text(path)?), path)
}

/// A file as text; bytes that are no UTF-8 are read as Latin-1, which old exports are in.
pub(super) fn text(path: &Path) -> anyhow::Result<String> {
    let bytes = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(|byte| char::from(*byte)).collect()))
}

/// What was read and is not as it should be ends the program with its own exit code.
pub(super) fn refused<T, E: std::error::Error>(read: Result<T, E>, path: &Path) -> anyhow::Result<T> {
    read.map_err(|error| failure(Exit::Refused, format!("{}: {error}", path.display())))
}

fn as_json(figures: &Figures, model: &Model, seconds: f64, (keys, skipped): (usize, usize)) -> Value {
    json!({
        "model": model.name,
        "threshold": model.threshold,
        "records": figures.records,
        "true_pairs": figures.true_pairs,
        "linked_pairs": figures.linked_pairs,
        "right_pairs": figures.right_pairs,
        "false_pairs": figures.linked_pairs - figures.right_pairs,
        "missed_pairs": figures.true_pairs - figures.right_pairs,
        "missed_pairs_in_review": figures.missed_pairs_in_review,
        "pairs_in_blocks": figures.pairs_in_blocks,
        "precision": figures.precision(),
        "recall": figures.recall(),
        "f1": figures.f1(),
        "persons": figures.persons,
        "mixed_persons": figures.mixed_persons,
        "mixed_per_100000": figures.mixed_per_100_000(),
        "reviews": figures.reviews,
        "review_rate": figures.review_rate(),
        "overlays": figures.overlays,
        "overlays_flagged": figures.overlays_flagged,
        "comparisons": figures.comparisons,
        "keys": keys,
        "keys_skipped": skipped,
        "seconds": seconds,
    })
}

fn as_text(figures: &Figures, model: &Model, seconds: f64, (keys, skipped): (usize, usize)) -> String {
    let rows = [
        ("model", format!("{}, threshold {}", model.name, model.threshold)),
        ("records", format!("{} in {seconds:.2} s", figures.records)),
        ("true pairs", format!("{}, {} of them share a key", figures.true_pairs, figures.pairs_in_blocks)),
        (
            "linked pairs",
            format!("{}, {} of them false", figures.linked_pairs, figures.linked_pairs - figures.right_pairs),
        ),
        (
            "missed pairs",
            format!(
                "{}, {} of them in review",
                figures.true_pairs - figures.right_pairs,
                figures.missed_pairs_in_review
            ),
        ),
        ("precision", format!("{:.5}", figures.precision())),
        ("recall", format!("{:.5}", figures.recall())),
        ("F1", format!("{:.5}", figures.f1())),
        ("persons", figures.persons.to_string()),
        ("mixed persons", format!("{}, {:.1} per 100,000", figures.mixed_persons, figures.mixed_per_100_000())),
        ("in review", format!("{} records, {:.2} %", figures.reviews, figures.review_rate() * 100.0)),
        ("overlays", format!("{}, {} of them flagged", figures.overlays, figures.overlays_flagged)),
        ("comparisons", figures.comparisons.to_string()),
        ("keys", format!("{keys}, {skipped} of them skipped as too common")),
    ];
    rows.iter().map(|(name, value)| format!("{name:<16} {value}\n")).collect()
}
