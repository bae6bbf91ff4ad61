//! Reaching a node from the command line: where it listens, who asks, and what its errors mean.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use weft_api::{
    Code, Status,
    client::{self, Clients},
};
use weft_model::proto::api::RequestContext;

use crate::{
    commands::{Exit, failure},
    config::Config,
    roles::Role,
};

/// Who asks and why: recorded with every answer about a person.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Who asks, and why (recorded with every answer about a person)")]
pub(crate) struct Asker {
    /// User [default: the configuration's, else the account's name]
    #[arg(long)]
    user: Option<String>,
    /// Role, for example clinician or auditor [default: the configuration's]
    #[arg(long)]
    role: Option<String>,
    /// ODS code of the user's organisation [default: the configuration's]
    #[arg(long)]
    organisation: Option<String>,
    /// Purpose, for example direct-care or audit [default: the configuration's]
    #[arg(long)]
    purpose: Option<String>,
    /// Why this person, why now [default: the configuration's, else "command line"]
    #[arg(long)]
    reason: Option<String>,
}

/// What a running node writes to its run file, and prints when it is ready.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) ready: bool,
    pub(crate) roles: Vec<Role>,
    /// Where it answers; empty where it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) grpc: String,
    /// Where it tells how it is.
    pub(crate) health: String,
    /// Where it listens, by feed.
    pub(crate) mllp: std::collections::BTreeMap<String, String>,
}

impl Asker {
    /// The context of a request: options first, then the configuration.
    pub(crate) fn context(&self, config: &Config) -> RequestContext {
        let operator = &config.operator;
        let pick = |option: &Option<String>, configured: &Option<String>, default: &str| {
            option.clone().or_else(|| configured.clone()).unwrap_or_else(|| default.to_owned())
        };
        let account = std::env::var("USER").unwrap_or_default();
        RequestContext {
            user: pick(&self.user, &operator.user, if account.is_empty() { "unknown-account" } else { &account }),
            role: pick(&self.role, &operator.role, ""),
            organisation: pick(&self.organisation, &operator.organisation, ""),
            purpose: pick(&self.purpose, &operator.purpose, ""),
            reason: pick(&self.reason, &operator.reason, "command line"),
        }
    }
}

/// The configuration, and clients of the node that runs under it.
pub(crate) async fn node(config: &Path) -> anyhow::Result<(Config, Clients)> {
    let config = Config::read(config)?;
    match running(&config).await? {
        Some(clients) => Ok((config, clients)),
        None => Err(failure(Exit::NoNode, "no node is running under this configuration: start one with `weft serve`")),
    }
}

/// Clients of the running node; `None` where none runs.
pub(crate) async fn running(config: &Config) -> anyhow::Result<Option<Clients>> {
    let path = config.run_file();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let ready: Ready = serde_json::from_str(&text).with_context(|| format!("{} is not readable", path.display()))?;
    // The file of a node that was killed is still there: only an answer says that one runs.
    Ok(client::connect(&ready.grpc).await.ok())
}

/// What a node's refusal means here, with the details that it gave.
pub(crate) fn refused(status: Status) -> anyhow::Error {
    let exit = match status.code() {
        Code::NotFound => Exit::NotFound,
        Code::Unavailable => Exit::NoNode,
        Code::InvalidArgument => Exit::Refused,
        _ => Exit::Failed,
    };
    let mut text = status.message().to_owned();
    // The message already is the first detail.
    for detail in weft_api::error_details(&status).iter().skip(1) {
        let place = if detail.field.is_empty() { String::new() } else { format!("{}: ", detail.field) };
        text.push_str(&format!("\n{place}{}", detail.text));
    }
    failure(exit, text)
}
