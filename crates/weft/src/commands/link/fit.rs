//! `weft link fit`: weights learned from records of which nobody knows who is who.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use weft_link::labelled::{FitOptions, Map, Records, fit};

use super::evaluate::{model, refused, tables, text};
use crate::{commands::Exit, output};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Tables of records with a header; several are read as one set
    #[arg(required = true, value_name = "RECORDS.csv")]
    records: Vec<PathBuf>,
    /// Which column is which field (TOML), as for `weft link evaluate`
    #[arg(long, value_name = "MAP.toml")]
    map: PathBuf,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name and version of the model, written into every decision that it makes
    #[arg(long, default_value = "weights/fitted")]
    name: String,
    /// A model file to start from: what is not learned stays as it has it [default: the model that ships]
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Which pairs are drawn by chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let base = model(options.model.as_deref())?;
    let map = refused(Map::parse(&text(&options.map)?), &options.map)?;
    let set = refused(Records::read(&tables(&options.records)?, &map, None), &options.map)?;
    let how = FitOptions { name: options.name.clone(), seed: options.seed, ..FitOptions::default() };
    let numbers = weft_link::Options { test_numbers_are_evidence: true };
    let fitted = fit(&set.records, &numbers, &base, &how);
    std::fs::write(&options.out, fitted.model.to_toml()?).with_context(|| format!("{}", options.out.display()))?;
    if options.json {
        output::json_line(&json!({
            "model": fitted.model.name,
            "records": fitted.records,
            "random_pairs": fitted.random_pairs,
            "candidate_pairs": fitted.candidate_pairs,
            "expected_matches": fitted.expected_matches,
            "learned": fitted.learned,
        }))?;
    } else {
        output::data(&fitted.model.provenance.iter().map(|line| format!("{line}\n")).collect::<String>())?;
    }
    Ok(Exit::Done)
}
