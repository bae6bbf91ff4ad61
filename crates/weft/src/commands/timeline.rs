//! `weft timeline`: a person's history across the organisations.

use std::path::Path;

use clap::Args;
use weft_model::{
    AsOf, PersonId, Position,
    proto::{
        api::{GetTimelineRequest, StreamTimelineRequest, TimelineEntry, TimelineFilter},
        event::{LineKind, When},
    },
};

use crate::{
    commands::{
        Exit,
        reach::{self, Asker, refused},
    },
    output, protobuf_json, table,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Person identifier, as `weft person find` prints it
    person: PersonId,
    /// Only these kinds: admission, transfer, discharge, attendance, pre-admission, encounter, report, observation,
    /// condition, allergy, related-person, registration, death
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    kind: Vec<LineKind>,
    /// Only these organisations (ODS codes)
    #[arg(long, value_delimiter = ',', value_name = "ODS")]
    from: Vec<String>,
    /// Also what its source has taken back
    #[arg(long)]
    withdrawn: bool,
    /// Show what was known then: a tick (42), a time (2026-03-01T09:30:00Z) or sizes (feed/0/120,identity/0/80)
    #[arg(long, value_name = "MOMENT", conflicts_with = "follow")]
    as_of: Option<AsOf>,
    /// At most this many lines
    #[arg(long, default_value_t = 100)]
    limit: usize,
    /// Stay, and print what becomes known
    #[arg(long)]
    follow: bool,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn run(config: &Path, options: Options) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let context = Some(options.asker.context(&config));
    let filter = Some(TimelineFilter {
        kinds: options.kind.iter().map(|k| i32::from(*k)).collect(),
        organisations: options.from.clone(),
        include_withdrawn: options.withdrawn,
        ..TimelineFilter::default()
    });
    let person_id = options.person.to_string();
    if options.follow {
        let request = StreamTimelineRequest { context, person_id, filter };
        let mut stream = clients.timeline.stream_timeline(request).await.map_err(refused)?.into_inner();
        while let Some(answer) = stream.message().await.map_err(refused)? {
            if options.json {
                output::json_line(&protobuf_json::to_json("weft.v1.StreamTimelineResponse", &answer)?)?;
            } else if !answer.entries.is_empty() {
                output::data(&render(&answer.entries))?;
            }
        }
        return Ok(Exit::Done);
    }
    let as_of = options.as_of.as_ref().map(AsOf::to_proto);
    let mut request = GetTimelineRequest { context, person_id, filter, as_of, ..GetTimelineRequest::default() };
    let mut entries = Vec::new();
    loop {
        request.page_size = u32::try_from((options.limit - entries.len()).min(1000)).unwrap_or(1000);
        let mut answer = clients.timeline.get_timeline(request.clone()).await.map_err(refused)?.into_inner();
        request.page_token = std::mem::take(&mut answer.next_page_token);
        if answer.parked_records > 0 {
            crate::talk!("incomplete: {} record(s) wait for an event that could not be applied", answer.parked_records);
        }
        if options.json {
            output::json_line(&protobuf_json::to_json("weft.v1.GetTimelineResponse", &answer)?)?;
        }
        entries.append(&mut answer.entries);
        if request.page_token.is_empty() || entries.len() >= options.limit {
            break;
        }
    }
    if !options.json {
        output::data(&render(&entries))?;
    }
    if !request.page_token.is_empty() {
        crate::talk!("there is more; --limit shows it");
    }
    Ok(Exit::Done)
}

/// The lines as a table: source, the three times and where each came from.
pub(crate) fn render(entries: &[TimelineEntry]) -> String {
    let show = |when: &Option<When>| when.as_ref().and_then(|w| w.to_display().ok()).unwrap_or_default();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let from = entry.provenance.clone().unwrap_or_default();
            let position = from.position.as_ref().and_then(|p| Position::from_proto(p).ok());
            let position = position.map(|p| p.to_string()).unwrap_or_default();
            let status = if entry.withdrawn { "withdrawn" } else { &entry.status };
            let what = [entry.title.as_str(), entry.detail.as_str()].join("  ");
            vec![
                show(&entry.occurred),
                from.organisation.clone(),
                name(entry.kind()),
                what.trim().to_owned(),
                status.to_owned(),
                show(&entry.recorded),
                When::instant(entry.received_us).to_display().unwrap_or_default(),
                format!("{} {} {} {position}", from.feed, from.message_type, from.location),
            ]
        })
        .collect();
    table::render(&["OCCURRED", "ORG", "KIND", "WHAT", "STATUS", "RECORDED", "RECEIVED", "FROM"], &rows)
}

fn name(kind: LineKind) -> String {
    kind.as_str_name().to_lowercase().replace('_', "-")
}

fn kind(text: &str) -> Result<LineKind, String> {
    let upper = text.to_uppercase().replace('-', "_");
    LineKind::from_str_name(&upper).ok_or_else(|| format!("no such kind of line: {text}"))
}
