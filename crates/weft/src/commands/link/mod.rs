//! `weft link`: how well records are linked, and what people decide about links.

use std::path::Path;

use clap::Subcommand;

use super::Exit;

/// One file a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {}

pub(crate) async fn run(_config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {}
}
