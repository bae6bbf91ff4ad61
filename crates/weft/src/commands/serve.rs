//! `weft serve`: a node, until it is told to end.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    commands::Exit,
    config::Config,
    node::Node,
    output,
    roles::{Role, Roles},
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// What this process does; may be given again. Apart from the others only on Kafka and PostgreSQL [default: all]
    #[arg(long, value_name = "ROLE")]
    role: Vec<Role>,
}

/// Prints one JSON line when the node is ready: `{"ready":true,"roles":[...],"grpc":"127.0.0.1:PORT",
/// "health":"127.0.0.1:PORT","mllp":{"FEED":"127.0.0.1:PORT"}}`; without the role `api` there is no `grpc`.
pub(crate) async fn run(config: &Path, options: &Options) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let config = Config::read(config)?;
    let roles = Roles::of(&options.role);
    if config.kafka.is_none() {
        roles.fit_embedded()?;
    }
    let told_to_end = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::pin!(told_to_end);
    let node = tokio::select! {
        node = Node::start(&config, &roles) => node?,
        // It waits for something that does not answer, and has promised nobody anything.
        () = &mut told_to_end => return Ok(Exit::Done),
    };
    output::json_line(&serde_json::to_value(&node.ready)?)?;
    let exit = tokio::select! {
        () = told_to_end => Exit::Done,
        () = node.failed() => Exit::Failed,
    };
    crate::talk!("ending: finishing what was received");
    node.stop().await;
    Ok(exit)
}
