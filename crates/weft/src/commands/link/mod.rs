//! `weft link`: how well records are linked, and what people decide about links.

mod again;
mod chart;
mod decide;
mod evaluate;
mod fit;
mod review;
mod subject;

use std::path::Path;

use clap::Subcommand;

use super::Exit;

/// One file a subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what waits for a steward, the most dangerous first; the answer is recorded
    Review(review::ReviewOptions),
    /// Show every decision about a record, with its evidence; the answer is recorded
    Explain(review::ExplainOptions),
    /// Decide that a record belongs to a person
    Accept(decide::AcceptOptions),
    /// Decide that a record does not belong to a person
    Reject(decide::RejectOptions),
    /// Decide that two persons are one
    Merge(decide::MergeOptions),
    /// Decide that some records of a person are somebody else's
    Split(decide::SplitOptions),
    /// Take an earlier decision back
    Undo(decide::UndoOptions),
    /// Let an NHS number that was found with two people link again
    Release(decide::ReleaseOptions),
    /// Say that one NHS number was merged into another
    Supersede(decide::SupersedeOptions),
    /// Show which links of the stored population would change under another model
    Compare(again::CompareOptions),
    /// Let another model decide from now on; what was decided stands
    Switch(decide::SwitchOptions),
    /// Make every decision in the log again, and compare
    Verify(again::VerifyOptions),
    /// Score the linker on a set of which it is known who is who
    Evaluate(evaluate::Options),
    /// Learn weights from records of which nobody knows who is who, and write a model file
    Fit(fit::Options),
}

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Review(options) => review::review(config, options).await,
        Command::Explain(options) => review::explain(config, options).await,
        Command::Accept(options) => decide::accept(config, options).await,
        Command::Reject(options) => decide::reject(config, options).await,
        Command::Merge(options) => decide::merge(config, options).await,
        Command::Split(options) => decide::split(config, options).await,
        Command::Undo(options) => decide::undo(config, options).await,
        Command::Release(options) => decide::release(config, options).await,
        Command::Supersede(options) => decide::supersede(config, options).await,
        Command::Compare(options) => again::compare(config, options).await,
        Command::Switch(options) => decide::switch(config, options).await,
        Command::Verify(options) => again::verify(config, options).await,
        Command::Evaluate(options) => evaluate::evaluate(&options),
        Command::Fit(options) => fit::run(&options),
    }
}
