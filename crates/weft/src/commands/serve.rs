//! `weft serve`: a node, until it is told to end.

use std::path::Path;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{commands::Exit, config::Config, node::Node, output};

#[derive(Debug, Args)]
pub(crate) struct Options {}

/// Prints one JSON line when the node is ready: `{"ready":true,"grpc":"127.0.0.1:PORT","mllp":{"FEED":"127.0.0.1:PORT"}}`.
pub(crate) async fn run(config: &Path, _options: &Options) -> anyhow::Result<Exit> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let node = Node::start(&Config::read(config)?).await?;
    output::json_line(&serde_json::to_value(&node.ready)?)?;
    let exit = tokio::select! {
        _ = terminate.recv() => Exit::Done,
        _ = interrupt.recv() => Exit::Done,
        () = node.failed() => Exit::Failed,
    };
    crate::talk!("ending: finishing what was received");
    node.stop().await;
    Ok(exit)
}
