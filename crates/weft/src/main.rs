//! Weft: an event-sourced integration backbone for health and care. One binary: the node and its command line.
//!
//! Data goes to stdout, talk to stderr. Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 no node answers;
//! 5 the input was read and refused (a message, a feed file).

mod bench;
mod commands;
mod config;
mod feed_control;
mod health;
mod lead;
mod link_models;
mod linker;
mod listening;
mod node;
mod notary;
mod output;
mod protobuf_json;
mod roles;
#[cfg(test)]
mod simulation;
mod stores;
mod system;
mod table;

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::commands::{Cli, Exit};

// A sixth of a message's time was in the system's allocator: messages are many small pieces on many threads. This one gives out
// first what was given back last and is still in the processor's caches. Unprefixed, it serves SQLite and zstd too.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long threads that still do something when a command is done are waited for.
const THREADS_END_WITHIN: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("WEFT_LOG").unwrap_or_else(|_| EnvFilter::new(cli.default_log_level()));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            talk!("weft: cannot start threads: {error}");
            return Exit::Failed.into();
        }
    };
    let result = runtime.block_on(cli.run());
    // A thread that waits for brokers or a database that hang would keep the process from ending.
    runtime.shutdown_timeout(THREADS_END_WITHIN);
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            talk!("weft: {error:#}");
            commands::exit_of(&error).into()
        }
    }
}
