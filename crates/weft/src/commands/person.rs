//! `weft person`: who is who, and why.

use std::path::Path;

use clap::{Args, Subcommand};
use weft_model::{
    AsOf, PersonId, Position,
    proto::api::{
        DemographicQuery, FindPersonsRequest, GetPersonRequest, LinkedRecord, LocalIdentifier, PersonSummary,
        find_persons_request::By,
    },
};

use crate::{
    commands::{
        Exit,
        reach::{self, Asker, refused},
    },
    output, protobuf_json, table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find persons by NHS number, local identifier or demographics
    Find(Find),
    /// Show one person: the records that are linked, and the evidence for each
    Show(Show),
}

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct Find {
    /// Ten digits; spaces are allowed
    #[arg(long, conflicts_with_all = ["local_id", "family"])]
    nhs_number: Option<String>,
    /// An organisation's own number for a patient, as ORGANISATION/NUMBER or ORGANISATION/SYSTEM/NUMBER
    #[arg(long, value_name = "ORG/[SYSTEM/]NUMBER", conflicts_with = "family")]
    local_id: Option<String>,
    /// Family name; --born is needed with it
    #[arg(long, requires = "born")]
    family: Option<String>,
    /// Given name
    #[arg(long, requires = "family")]
    given: Option<String>,
    /// Date of birth, YYYY-MM-DD
    #[arg(long, value_name = "DATE", requires = "family")]
    born: Option<String>,
    /// male, female, other or unknown
    #[arg(long, requires = "family")]
    sex: Option<String>,
    /// Postcode
    #[arg(long, requires = "family")]
    postcode: Option<String>,
    /// At most this many persons
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Person identifier, as `weft person find` prints it
    person: PersonId,
    /// Show what was known then: a tick (42), a time (2026-03-01T09:30:00Z) or sizes (feed/0/120,identity/0/80)
    #[arg(long, value_name = "MOMENT")]
    as_of: Option<AsOf>,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Find(options) => find(config, options).await,
        Command::Show(options) => show(config, options).await,
    }
}

async fn find(config: &Path, options: Find) -> anyhow::Result<Exit> {
    let by = if let Some(number) = options.nhs_number {
        By::NhsNumber(number)
    } else if let Some(text) = options.local_id {
        By::LocalIdentifier(local_identifier(&text)?)
    } else if let Some(family) = options.family {
        By::Demographics(DemographicQuery {
            family,
            given: options.given.unwrap_or_default(),
            birth_date: options.born.unwrap_or_default(),
            sex: options.sex.unwrap_or_default(),
            postcode: options.postcode.unwrap_or_default(),
        })
    } else {
        anyhow::bail!("say whom to look for: --nhs-number, --local-id, or --family with --born");
    };
    let (config, mut clients) = reach::node(config).await?;
    let request =
        FindPersonsRequest { context: Some(options.asker.context(&config)), by: Some(by), limit: options.limit };
    let answer = clients.person.find_persons(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.FindPersonsResponse", &answer)?)?;
    } else {
        output::data(&summaries(&answer.persons))?;
    }
    if answer.more {
        crate::talk!("there are more; --limit shows up to 50");
    }
    Ok(if answer.persons.is_empty() { Exit::NotFound } else { Exit::Done })
}

async fn show(config: &Path, options: Show) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = GetPersonRequest {
        context: Some(options.asker.context(&config)),
        person_id: options.person.to_string(),
        as_of: options.as_of.as_ref().map(AsOf::to_proto),
    };
    let answer = clients.person.get_person(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.GetPersonResponse", &answer)?)?;
        return Ok(Exit::Done);
    }
    output::data(&summaries(answer.person.as_slice()))?;
    for record in &answer.records {
        output::data(&describe(record))?;
    }
    Ok(Exit::Done)
}

fn local_identifier(text: &str) -> anyhow::Result<LocalIdentifier> {
    let parts: Vec<String> = text.splitn(3, '/').map(str::to_owned).collect();
    match <[String; 3]>::try_from(parts) {
        Ok([organisation, system, value]) => Ok(LocalIdentifier { organisation, system, value }),
        Err(parts) => match <[String; 2]>::try_from(parts) {
            Ok([organisation, value]) => Ok(LocalIdentifier { organisation, system: String::new(), value }),
            Err(_) => anyhow::bail!("--local-id is ORGANISATION/NUMBER or ORGANISATION/SYSTEM/NUMBER"),
        },
    }
}

fn summaries(persons: &[PersonSummary]) -> String {
    let rows: Vec<Vec<String>> = persons
        .iter()
        .map(|p| {
            let name = p.name.clone().unwrap_or_default();
            let name = format!("{}, {}", name.family.to_uppercase(), name.given.join(" "));
            let records = p.records.to_string();
            vec![
                p.person_id.clone(),
                name,
                p.birth_date.clone(),
                p.sex.clone(),
                p.postcode.clone(),
                p.nhs_number.clone(),
                records,
            ]
        })
        .collect();
    table::render(&["PERSON", "NAME", "BORN", "SEX", "POSTCODE", "NHS NUMBER", "RECORDS"], &rows)
}

/// One record and the decision that put it here, the weights as a sum.
fn describe(linked: &LinkedRecord) -> String {
    let id = linked.record.clone().unwrap_or_default();
    let method = linked.method().as_str_name().to_lowercase().replace('_', "-");
    let decided = linked.decided_at.as_ref().and_then(|p| Position::from_proto(p).ok());
    let decided = decided.map(|p| p.to_string()).unwrap_or_default();
    let mut text = format!(
        "\n{} {} {}\n  linked by {method}, score {}, model {}, decided at {decided}\n",
        id.organisation, id.system, id.value, linked.score, linked.model
    );
    for row in &linked.evidence {
        text.push_str(&format!("    {:>6}  {} {}\n", row.weight, row.field, row.level));
    }
    if let Some(survivor) = &linked.merged_into {
        text.push_str(&format!("  merged by its organisation into {} {}\n", survivor.system, survivor.value));
    }
    for review in &linked.review {
        text.push_str(&format!("  to be reviewed: {review}\n"));
    }
    if let Some(parked) = linked.parked_at.as_ref().and_then(|p| Position::from_proto(p).ok()) {
        text.push_str(&format!("  parked: the event at {parked} could not be applied\n"));
    }
    text
}
