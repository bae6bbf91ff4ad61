//! `weft link verify` and `weft link compare`: every decision made again from the log, and compared.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use serde_json::json;
use weft_link::Model;
use weft_log::SharedLog;
use weft_model::{PersonId, Pseudonym};

use super::subject::Shown;
use crate::{
    commands::{Exit, failure},
    config::Config,
    linker::redo::{self, Population},
    output, stores, table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Reads the log and appends nothing; a running node is not disturbed. Exit code 1 where a decision made again differs from
the one in the log.")]
pub(crate) struct VerifyOptions {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Both models decide on every stored message from the start, under everything that stewards and senders have said. Nothing is
switched: `weft link switch` does that. Exit code 0 also where links would change.")]
pub(crate) struct CompareOptions {
    /// A model file, or `shipped` for the model of this program
    old: PathBuf,
    /// Another
    new: PathBuf,
    /// At most this many records are listed
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What two models make of the same records.
struct Change {
    /// Pairs of records that are of one person by the old model, by the new one, and by both.
    pairs: [u64; 3],
    /// Records that are with others than before: how many others by the old, and by the new model.
    records: Vec<(Pseudonym, [usize; 2])>,
}

pub(crate) async fn verify(config: &Path, options: VerifyOptions) -> anyhow::Result<Exit> {
    let log = open(config).await?;
    let report = redo::verify(&log, Model::shipped().context("the model that ships")?).await?;
    log.close().await;
    let different: Vec<String> = report.different.iter().map(ToString::to_string).collect();
    if options.json {
        output::json_line(&json!({
            "causes": report.causes,
            "decisions": report.decisions,
            "differences": report.differences,
            "different": different,
            "of_other_versions": report.of_other_versions,
            "undecided": report.undecided,
            "digest": report.digest,
        }))?;
    } else {
        output::data(&format!(
            "{} decisions on {} messages made again: {} differ, {} not decided yet\n{}\n",
            report.decisions, report.causes, report.differences, report.undecided, report.digest
        ))?;
        for position in &different {
            output::data(&format!("decided otherwise: {position}\n"))?;
        }
        if report.of_other_versions > 0 {
            output::data(&format!(
                "{} were decided on by another version of the linker, which reads names otherwise: they stand, and \
                 cannot be made again by this one\n",
                report.of_other_versions
            ))?;
        }
    }
    Ok(if report.differences == 0 { Exit::Done } else { Exit::Failed })
}

pub(crate) async fn compare(config: &Path, options: CompareOptions) -> anyhow::Result<Exit> {
    let (old, new) = (read_model(&options.old)?, read_model(&options.new)?);
    let names = [old.name.clone(), new.name.clone()];
    let log = open(config).await?;
    let (before, after) = (redo::simulate(&log, old).await?, redo::simulate(&log, new).await?);
    log.close().await;
    let change = change(&before, &after);
    let [paired_before, paired_after, both] = change.pairs;
    let (lost, gained) = (paired_before - both, paired_after - both);
    let listed = change.records.iter().take(options.limit);
    if options.json {
        let records = listed.map(|(record, [old, new])| {
            json!({"record": Shown(before.names.get(record)).to_string(), "others_before": old, "others_after": new})
        });
        output::json_line(&json!({
            "old": names[0],
            "new": names[1],
            "records": before.persons.len(),
            "pairs": {"old": paired_before, "new": paired_after, "both": both, "lost": lost, "gained": gained},
            "changed": change.records.len(),
            "examples": records.collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    output::data(&format!(
        "{} records, {} would be with others\npairs of one person: {paired_before} by {}, {paired_after} by {}; \
         {lost} would part, {gained} would join\n",
        before.persons.len(),
        change.records.len(),
        names[0],
        names[1]
    ))?;
    let rows: Vec<Vec<String>> = listed
        .map(|(record, [old, new])| vec![Shown(before.names.get(record)).to_string(), old.to_string(), new.to_string()])
        .collect();
    if !rows.is_empty() {
        output::data(&table::render(&["RECORD", "OTHERS BEFORE", "OTHERS AFTER"], &rows))?;
    }
    Ok(Exit::Done)
}

/// A model file, or the model that ships.
pub(super) fn read_model(path: &Path) -> anyhow::Result<Model> {
    if path.as_os_str() == "shipped" {
        return Model::shipped().context("the model that ships");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Model::parse(&text).map_err(|error| failure(Exit::Refused, format!("{}: {error}", path.display())))
}

async fn open(config: &Path) -> anyhow::Result<SharedLog> {
    let config = Config::read(config)?;
    stores::open_log_read_only(&config).await
}

fn change(before: &Population, after: &Population) -> Change {
    let mut together: BTreeMap<(Option<PersonId>, Option<PersonId>), usize> = BTreeMap::new();
    let both = |record: &Pseudonym| (before.persons.get(record).copied(), after.persons.get(record).copied());
    for record in before.persons.keys() {
        *together.entry(both(record)).or_default() += 1;
    }
    let (mut old, mut new) = (HashMap::new(), HashMap::new());
    for ((one, other), count) in &together {
        *old.entry(*one).or_insert(0) += count;
        *new.entry(*other).or_insert(0) += count;
    }
    let pairs = |counts: &mut dyn Iterator<Item = usize>| counts.map(|n| n as u64 * (n as u64 - 1) / 2).sum::<u64>();
    let mut records = Vec::new();
    for record in before.persons.keys() {
        let (one, other) = both(record);
        let count = |counts: &HashMap<Option<PersonId>, usize>, person| counts.get(&person).copied().unwrap_or(1);
        let (was, will, same) =
            (count(&old, one), count(&new, other), together.get(&(one, other)).copied().unwrap_or(1));
        if was != same || will != same {
            records.push((*record, [was - 1, will - 1]));
        }
    }
    Change {
        pairs: [
            pairs(&mut old.values().copied()),
            pairs(&mut new.values().copied()),
            pairs(&mut together.values().copied()),
        ],
        records,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population(persons: &[u8]) -> Population {
        let person = |(n, p): (u8, &u8)| (Pseudonym([n; 16]), PersonId([*p; 16]));
        Population { persons: (0..).zip(persons).map(person).collect(), names: HashMap::new() }
    }

    #[test]
    fn what_changes_is_who_is_with_whom_and_not_what_they_are_called() {
        let check = |old: &[u8], new: &[u8], pairs: [u64; 3], records: usize| {
            let change = change(&population(old), &population(new));
            assert_eq!((change.pairs, change.records.len()), (pairs, records), "{old:?} {new:?}");
        };
        check(&[1, 1, 2], &[7, 7, 8], [1, 1, 1], 0);
        check(&[1, 1, 2], &[1, 2, 2], [1, 1, 0], 3);
        check(&[1, 1, 1], &[1, 1, 2], [3, 1, 1], 3);
        check(&[1, 2, 3], &[1, 1, 3], [0, 1, 0], 2);
    }
}
