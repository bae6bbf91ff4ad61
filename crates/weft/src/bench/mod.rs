//! `weft bench`: what this program does on this machine. Every figure comes with its unit, and with the time that one
//! fsync takes on the same disk in the same run, for that is what a durable acknowledgement has to wait for.

mod bed;
mod ingest;
mod link;
mod project;
mod query;
mod rebuild;
mod restart;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::{commands::Exit, output};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Acknowledgements over MLLP, and the time from a message to the timeline
    Ingest(ingest::Options),
    /// Deciding who is who, with and without writing the decisions to the log
    Link(link::Options),
    /// Projectors as processes that share the partitions of a log on Kafka
    Project(project::Options),
    /// Rebuilding the read model from the log
    Rebuild(rebuild::Options),
    /// GetTimeline over gRPC while messages arrive
    Query(query::Options),
    /// The time from kill -9 to listening again, and the memory of a node
    Restart(restart::Options),
}

/// What every benchmark takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Folder on the disk to measure [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Seed of the generated messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(command: Command) -> anyhow::Result<Exit> {
    let (json, figures) = match command {
        Command::Ingest(options) => (options.common.json, ingest::run(options).await?),
        Command::Link(options) => (options.common.json, link::run(options).await?),
        Command::Project(options) => (options.common.json, project::run(options).await?),
        Command::Rebuild(options) => (options.common.json, rebuild::run(options).await?),
        Command::Query(options) => (options.common.json, query::run(options).await?),
        Command::Restart(options) => (options.common.json, restart::run(options).await?),
    };
    if json {
        output::json_line(&figures.json())?
    } else {
        output::data(&figures.text())?
    }
    Ok(Exit::Done)
}

/// Figures in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    all: Vec<Figure>,
    /// What the names of those that are added begin with: where they were measured.
    place: &'static str,
}

#[derive(Debug)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Figures {
    /// Figures that are added from now on were measured at `place`; their names say so.
    fn measured_at(&mut self, place: &'static str) {
        self.place = place;
    }

    fn add(&mut self, name: &str, value: f64, unit: &'static str) {
        // Three decimals are more than any of these is repeatable to.
        let value = (value * 1000.0).round() / 1000.0;
        self.all.push(Figure { name: format!("{}{name}", self.place), value, unit });
    }

    /// Adds how many times the figure `name` without a place the one at `place` is.
    fn add_ratio(&mut self, name: &str, place: &str) {
        let value = |name: &str| self.all.iter().find(|figure| figure.name == name).map(|figure| figure.value);
        if let (Some(here), Some(there)) = (value(name), value(&format!("{place}{name}"))) {
            self.add(&format!("{place}{name}_ratio"), there / here.max(f64::EPSILON), "");
        }
    }

    fn json(&self) -> Value {
        let figures = self.all.iter().map(|f| (f.name.clone(), json!({"value": f.value, "unit": f.unit})));
        Value::Object(figures.collect::<Map<String, Value>>())
    }

    fn text(&self) -> String {
        self.all.iter().map(|Figure { name, value, unit }| format!("{name:<42} {value:>12} {unit}\n")).collect()
    }
}
