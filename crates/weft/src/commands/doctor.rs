//! `weft doctor`: looks at everything that a node stands on, and says of each what it found and what to do.
//!
//! Nothing is changed, and nothing is looked at that a node would not use: the same configuration, addresses, files and
//! keys. A check that cannot be made is a finding, not the end of the others.

mod files;
mod listening;
mod store;

use std::path::Path;

use anyhow::bail;
use clap::Args;
use serde::Serialize;

use crate::{commands::Exit, config::Config, output, table};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only ask the process at this address how it is, as a load balancer would; exit code 1 where it is not healthy
    #[arg(long, value_name = "HOST:PORT")]
    health: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// As it should be.
    Good,
    /// A node runs, and this will be regretted.
    Poor,
    /// A node does not run, or loses what it promises.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Finding {
    /// What was looked at: `keys`, `disk`, `grpc.listen`, ...
    check: String,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it; empty where it is good.
    #[serde(skip_serializing_if = "String::is_empty")]
    advice: String,
}

impl Finding {
    pub(crate) fn good(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Good, found: found.into(), advice: String::new() }
    }

    pub(crate) fn poor(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Poor, found: found.into(), advice: advice.into() }
    }

    pub(crate) fn bad(check: &str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check: check.to_owned(), state: State::Bad, found: found.into(), advice: advice.into() }
    }
}

/// Exit code 1 where anything is bad; what is poor is told and changes no exit code.
pub(crate) async fn run(path: &Path, options: &Options) -> anyhow::Result<Exit> {
    if let Some(address) = &options.health {
        return ask(address).await;
    }
    let mut findings = Vec::new();
    match Config::read(path) {
        Err(error) => findings.push(Finding::bad("configuration", format!("{error:#}"), "correct the file")),
        Ok(config) => {
            findings.push(Finding::good("configuration", format!("{} reads", path.display())));
            findings.extend(files::check(&config));
            findings.extend(store::check(&config).await);
            findings.extend(listening::check(&config).await);
        }
    }
    let worst = findings.iter().map(|finding| finding.state).max().unwrap_or(State::Good);
    if options.json {
        output::json_line(&serde_json::json!({"state": worst, "findings": findings}))?;
    } else {
        output::data(&render(&findings))?;
    }
    Ok(if worst == State::Bad { Exit::Failed } else { Exit::Done })
}

fn render(findings: &[Finding]) -> String {
    let rows: Vec<Vec<String>> = findings
        .iter()
        .map(|finding| {
            let state = match finding.state {
                State::Good => "good",
                State::Poor => "POOR",
                State::Bad => "BAD",
            };
            vec![state.to_owned(), finding.check.clone(), finding.found.clone()]
        })
        .collect();
    let mut text = table::render(&["STATE", "CHECK", "FOUND"], &rows);
    for finding in findings.iter().filter(|finding| finding.state > State::Good) {
        // The table cuts long cells; here nothing is.
        text.push_str(&format!("\n{}: {}\n  to do: {}\n", finding.check, finding.found, finding.advice));
    }
    text
}

async fn ask(address: &str) -> anyhow::Result<Exit> {
    match weft_api::client::healthy(address).await {
        Ok(true) => Ok(Exit::Done),
        Ok(false) => bail!("the process at {address} cannot use all that it stands on"),
        Err(status) => bail!("no health at {address}: {}", status.message()),
    }
}
