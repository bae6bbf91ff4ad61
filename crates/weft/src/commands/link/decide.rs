//! `weft link accept`, `reject`, `merge`, `split`, `undo`, `release` and `supersede`: what stewards decide.

use std::path::{Path, PathBuf};

use clap::Args;
use weft_link::Model;
use weft_model::{
    PersonId, Position,
    proto::api::{
        Accept, DecideRequest, MergePersons, PreviewRequest, Proposal, Reject, ReleaseNumberRequest, RequestContext,
        SplitPerson, SupersedeNumberRequest, SwitchModelRequest, Undo, proposal::Decision,
    },
};

use super::{
    again::read_model,
    subject::{About, RecordName, effect_text, position_text},
};
use crate::{
    commands::{
        Exit,
        reach::{self, Asker, refused},
    },
    output, protobuf_json,
};

/// What every decision takes.
#[derive(Debug, Args)]
pub(crate) struct How {
    /// Say what would move, and decide nothing
    #[arg(long)]
    preview: bool,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct AcceptOptions {
    /// A question of the review queue (identity/0/17), or a record as ORGANISATION/SYSTEM/NUMBER
    about: About,
    /// The person that the record belongs to [default: the one in question, else the one it is with]
    #[arg(long, value_name = "PERSON")]
    person: Option<PersonId>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct RejectOptions {
    /// A question of the review queue (identity/0/17), or a record as ORGANISATION/SYSTEM/NUMBER
    about: About,
    /// The person that it does not belong to [default: the one in question, else the one it is with]
    #[arg(long, value_name = "PERSON")]
    person: Option<PersonId>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct MergeOptions {
    /// The person that stays
    survivor: PersonId,
    /// The person whose records go to the other
    retired: PersonId,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct SplitOptions {
    /// The person that is two
    person: PersonId,
    /// Records that are somebody else's, as ORGANISATION/SYSTEM/NUMBER
    #[arg(required = true, value_name = "RECORD")]
    records: Vec<RecordName>,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct UndoOptions {
    /// Position of the decision, as it was printed and as `weft link explain` shows it, for example identity/0/17
    decision: Position,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
pub(crate) struct ReleaseOptions {
    /// Ten digits; spaces are allowed
    nhs_number: String,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct SupersedeOptions {
    /// The number that is to be used no more: ten digits, spaces allowed
    superseded: String,
    /// The number that it was merged into
    retained: String,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
#[command(after_help = "`weft link compare` shows beforehand which links would change.")]
pub(crate) struct SwitchOptions {
    /// A model file, or `shipped` for the model of this program
    model: PathBuf,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn accept(config: &Path, options: AcceptOptions) -> anyhow::Result<Exit> {
    let person_id = options.person.map(|person| person.to_string()).unwrap_or_default();
    let accept = Accept { subject: Some(options.about.into()), person_id };
    decide(config, Decision::Accept(accept), options.how).await
}

pub(crate) async fn reject(config: &Path, options: RejectOptions) -> anyhow::Result<Exit> {
    let person_id = options.person.map(|person| person.to_string()).unwrap_or_default();
    let reject = Reject { subject: Some(options.about.into()), person_id };
    decide(config, Decision::Reject(reject), options.how).await
}

pub(crate) async fn merge(config: &Path, options: MergeOptions) -> anyhow::Result<Exit> {
    let merge = MergePersons {
        survivor_person_id: options.survivor.to_string(),
        retired_person_id: options.retired.to_string(),
    };
    decide(config, Decision::Merge(merge), options.how).await
}

pub(crate) async fn split(config: &Path, options: SplitOptions) -> anyhow::Result<Exit> {
    let records = options.records.into_iter().map(|record| record.0).collect();
    let split = SplitPerson { person_id: options.person.to_string(), records };
    decide(config, Decision::Split(split), options.how).await
}

pub(crate) async fn undo(config: &Path, options: UndoOptions) -> anyhow::Result<Exit> {
    let undo = Undo { decision: Some(options.decision.to_proto()) };
    decide(config, Decision::Undo(undo), options.how).await
}

pub(crate) async fn release(config: &Path, options: ReleaseOptions) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let context = Some(options.asker.context(&config));
    let request = ReleaseNumberRequest { context, nhs_number: options.nhs_number };
    let answer = clients.link.release_number(request).await.map_err(refused)?.into_inner();
    output::data(&format!("released at {}\n", position_text(answer.position.as_ref())))?;
    Ok(Exit::Done)
}

pub(crate) async fn supersede(config: &Path, options: SupersedeOptions) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let context = Some(options.asker.context(&config));
    let request = SupersedeNumberRequest { context, superseded: options.superseded, retained: options.retained };
    let answer = clients.link.supersede_number(request).await.map_err(refused)?.into_inner();
    output::data(&format!("superseded at {}\n", position_text(answer.position.as_ref())))?;
    Ok(Exit::Done)
}

pub(crate) async fn switch(config: &Path, options: SwitchOptions) -> anyhow::Result<Exit> {
    // A file that cannot be read is refused here, where its mistakes can be told.
    let model = read_model(&options.model)?.name;
    let file = match options.model.as_os_str() == "shipped" {
        true => Model::shipped_text().as_bytes().to_vec(),
        false => std::fs::read(&options.model)?,
    };
    let (config, mut clients) = reach::node(config).await?;
    let request = SwitchModelRequest { context: Some(options.asker.context(&config)), model: model.clone(), file };
    let answer = clients.link.switch_model(request).await.map_err(refused)?.into_inner();
    output::data(&format!("{model} decides from {}\n", position_text(answer.position.as_ref())))?;
    Ok(Exit::Done)
}

async fn decide(config: &Path, decision: Decision, how: How) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let context: Option<RequestContext> = Some(how.asker.context(&config));
    let proposal = Some(Proposal { decision: Some(decision) });
    if how.preview {
        let answer = clients.link.preview(PreviewRequest { context, proposal }).await.map_err(refused)?.into_inner();
        if how.json {
            output::json_line(&protobuf_json::to_json("weft.v1.PreviewResponse", &answer)?)?;
        } else {
            output::data(&effect_text(&answer.effect.unwrap_or_default()))?;
        }
        return Ok(Exit::Done);
    }
    let answer = clients.link.decide(DecideRequest { context, proposal }).await.map_err(refused)?.into_inner();
    if how.json {
        output::json_line(&protobuf_json::to_json("weft.v1.DecideResponse", &answer)?)?;
    } else {
        let position = position_text(answer.position.as_ref());
        output::data(&effect_text(&answer.effect.unwrap_or_default()))?;
        output::data(&format!("decided at {position}\n"))?;
        crate::talk!("`weft link undo {position}` takes it back");
    }
    Ok(Exit::Done)
}
