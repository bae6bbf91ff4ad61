//! The command line: options, and one file a command.

pub(crate) mod cut;
mod demo;
mod doctor;
mod feed;
pub(crate) mod init;
mod link;
mod log;
mod person;
mod quarantine;
pub(crate) mod reach;
mod replay;
mod send;
mod serve;
mod timeline;
mod verify;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

const AFTER_HELP: &str = "\
Exit codes: 0 done; 1 failed; 2 wrong usage; 3 not found; 4 no node answers; 5 the input was read and refused.
Data goes to stdout, talk to stderr. WEFT_LOG sets what is logged (for example WEFT_LOG=info).

A first look, with nothing to set up:  weft demo";

/// An event-sourced integration backbone for health and care
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, propagate_version = true, max_term_width = 110)]
pub(crate) struct Cli {
    /// The node's configuration
    #[arg(long, global = true, default_value = "weft.toml", value_name = "FILE")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented configuration, the keys and an example feed into a folder
    Init(init::Options),
    /// Run a node until it is told to end (SIGINT or SIGTERM)
    Serve(serve::Options),
    /// Look at everything that a node stands on, and say what to do
    Doctor(doctor::Options),
    /// Register, watch and try feeds
    #[command(subcommand)]
    Feed(feed::Command),
    /// Send HL7v2 messages over MLLP and print each acknowledgement
    Send(send::Options),
    /// Find persons, and see which records are linked and why
    #[command(subcommand)]
    Person(person::Command),
    /// Measure and steward how records become persons
    #[command(subcommand)]
    Link(link::Command),
    /// Show a person's history
    Timeline(timeline::Options),
    /// Look at the event log
    #[command(subcommand)]
    Log(log::Command),
    /// Look at messages that are kept but not projected
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Make the read model again from the log, beside the live one, and compare
    Replay(replay::Options),
    /// Prove that nothing in the log was changed, or check a proof of one event
    Verify(verify::Options),
    /// Measure this machine and this program
    #[command(subcommand)]
    Bench(crate::bench::Command),
    /// Run a whole node on generated people, and show what it makes of them
    Demo(demo::Options),
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Everything asked for was done.
    Done,
    /// It failed; the message says why.
    Failed,
    /// What was asked for does not go together with the configuration.
    Usage,
    /// What was asked for does not exist.
    NotFound,
    /// No node answers.
    NoNode,
    /// The input was read and refused: a message, a feed file.
    Refused,
}

/// An error that decides the exit code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: String,
}

impl Cli {
    /// What is logged where WEFT_LOG does not say: a node tells of its feeds, a command only of trouble.
    pub(crate) fn default_log_level(&self) -> &'static str {
        if matches!(self.command, Command::Serve(_)) { "info" } else { "warn" }
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> anyhow::Result<Exit> {
        let config = &self.config;
        match self.command {
            Command::Init(options) => init::run(&options),
            Command::Serve(options) => serve::run(config, &options).await,
            Command::Doctor(options) => doctor::run(config, &options).await,
            Command::Feed(command) => feed::run(config, command).await,
            Command::Send(options) => send::run(config, options).await,
            Command::Person(command) => person::run(config, command).await,
            Command::Link(command) => link::run(config, command).await,
            Command::Timeline(options) => timeline::run(config, options).await,
            Command::Log(command) => log::run(config, command).await,
            Command::Quarantine(command) => quarantine::run(config, command).await,
            Command::Replay(options) => replay::run(config, options).await,
            Command::Verify(options) => verify::run(config, options).await,
            Command::Bench(command) => crate::bench::run(command).await,
            Command::Demo(options) => demo::run(options).await,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NoNode => 4,
            Exit::Refused => 5,
        })
    }
}

/// The exit code of an error: that of the [`Failure`] in its chain, else 1.
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    error.chain().find_map(|e| e.downcast_ref::<Failure>()).map_or(Exit::Failed, |failure| failure.exit)
}

/// An error with an exit code of its own.
pub(crate) fn failure(exit: Exit, text: impl Into<String>) -> anyhow::Error {
    Failure { exit, text: text.into() }.into()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_and_option_is_described() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {}", argument.get_id(), command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        let mut cli = super::Cli::command();
        cli.build();
        cli.get_subcommands().filter(|c| c.get_name() != "help").for_each(check);
    }
}
