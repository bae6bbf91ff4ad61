//! `weft quarantine`: messages that are kept but not projected.

use std::{collections::BTreeMap, path::Path};

use clap::{Args, Subcommand};
use weft_model::{
    Position,
    proto::{
        self,
        api::{
            GetQuarantinedRequest, ListQuarantineRequest, QuarantinedMessage, RedriveOutcome, RedriveRequest, Redriven,
        },
        event::When,
    },
};

use crate::{
    commands::{
        Exit,
        reach::{self, Asker, refused},
    },
    output, protobuf_json, table,
};

/// Messages that are read again in one call.
const PAGE: u32 = 500;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List messages that are quarantined or in conflict, newest first
    List(List),
    /// Show one with its bytes and issues; the answer is recorded
    Show(Show),
    /// Read messages again, from the log, by their feed's profile as it is now; what is accepted enters the timeline
    Redrive(Redrive),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this feed
    #[arg(long)]
    feed: Option<String>,
    /// Also those that were accepted since, with where
    #[arg(long)]
    all: bool,
    /// At most this many
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Position of its event, as `weft quarantine list` prints it, for example feed/0/17
    position: Position,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct Redrive {
    /// Positions, as `weft quarantine list` prints them; a message in conflict is read again only where it is named
    #[arg(value_name = "POSITION", required_unless_present_any = ["feed", "all"], requires = "reason")]
    positions: Vec<Position>,
    /// What is quarantined of this feed
    #[arg(long, conflicts_with_all = ["positions", "all"], requires = "reason")]
    feed: Option<String>,
    /// What is quarantined of all feeds
    #[arg(long, conflicts_with = "positions", requires = "reason")]
    all: bool,
    /// Only say what would become of them
    #[arg(long)]
    preview: bool,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(options) => list(config, options).await,
        Command::Show(options) => show(config, options).await,
        Command::Redrive(options) => redrive(config, options).await,
    }
}

async fn list(config: &Path, options: List) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = ListQuarantineRequest {
        context: Some(options.asker.context(&config)),
        feed: options.feed.unwrap_or_default(),
        page_size: options.limit,
        page_token: String::new(),
        with_redriven: options.all,
    };
    let answer = clients.feed.list_quarantine(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.ListQuarantineResponse", &answer)?)?;
    } else {
        let rows: Vec<Vec<String>> = answer.messages.iter().map(row).collect();
        output::data(&table::render(
            &["POSITION", "RECEIVED", "FEED", "CONTROL ID", "TYPE", "VERDICT", "REASON", "ISSUES", "ACCEPTED AT"],
            &rows,
        ))?;
    }
    if !answer.next_page_token.is_empty() {
        crate::talk!("there are more; --limit shows up to 1000");
    }
    Ok(Exit::Done)
}

async fn show(config: &Path, options: Show) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = GetQuarantinedRequest {
        context: Some(options.asker.context(&config)),
        position: Some(options.position.to_proto()),
    };
    let answer = clients.feed.get_quarantined(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.GetQuarantinedResponse", &answer)?)?;
        return Ok(Exit::Done);
    }
    let message = answer.message.unwrap_or_default();
    output::data(&format!("{}\n", row(&message).join("  ")))?;
    for issue in &message.issues {
        output::data(&format!("  {}: {} ({})\n", issue.location, issue.text, issue.code))?;
    }
    let raw = String::from_utf8_lossy(&answer.raw).replace("\r\n", "\n").replace('\r', "\n");
    output::data(&format!("\n{}\n", raw.trim_end()))?;
    Ok(Exit::Done)
}

fn row(message: &QuarantinedMessage) -> Vec<String> {
    vec![
        text(message.position.as_ref()),
        When::instant(message.received_us).to_display().unwrap_or_default(),
        message.feed.clone(),
        message.control_id.clone(),
        message.message_type.clone(),
        message.verdict().as_str_name().to_lowercase(),
        message.reason.clone(),
        message.issues.iter().map(|i| i.location.as_str()).collect::<Vec<_>>().join(" "),
        text(message.redriven_to.as_ref()),
    ]
}

async fn redrive(config: &Path, options: Redrive) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let mut request = RedriveRequest {
        context: Some(options.asker.context(&config)),
        positions: options.positions.iter().map(|position| position.to_proto()).collect(),
        feed: options.feed.unwrap_or_default(),
        all: options.all,
        preview: options.preview,
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut counts: BTreeMap<RedriveOutcome, usize> = BTreeMap::new();
    // Each page is printed when it is done: what was stored before a failure has been told.
    loop {
        let answer = clients.feed.redrive(request.clone()).await.map_err(refused)?.into_inner();
        for message in &answer.messages {
            *counts.entry(message.outcome()).or_default() += 1;
            if !options.json {
                output::data(&redriven_lines(message, options.preview))?;
            }
        }
        if options.json {
            output::json_line(&protobuf_json::to_json("weft.v1.RedriveResponse", &answer)?)?;
        }
        request.page_token = answer.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let told: Vec<String> =
        counts.iter().map(|(outcome, count)| format!("{count} {}", words(*outcome, options.preview))).collect();
    crate::talk!("{}", if told.is_empty() { "nothing is quarantined there".to_owned() } else { told.join(", ") });
    let done = [RedriveOutcome::AcceptedNow, RedriveOutcome::RedrivenBefore];
    Ok(if counts.keys().all(|outcome| done.contains(outcome)) { Exit::Done } else { Exit::Refused })
}

/// What became of one message, and where what is wrong with it is.
fn redriven_lines(message: &Redriven, preview: bool) -> String {
    let kept = text(message.position.as_ref());
    let mut line = format!("{kept}  {}  {}  {}", message.feed, message.control_id, words(message.outcome(), preview));
    match message.outcome() {
        RedriveOutcome::AcceptedNow | RedriveOutcome::RedrivenBefore if message.accepted_at.is_some() => {
            line.push_str(&format!(" at {}", text(message.accepted_at.as_ref())));
        }
        RedriveOutcome::StillHeld => {
            line.push_str(&format!(": {}", message.reason));
            for issue in &message.issues {
                line.push_str(&format!("\n  {}: {} ({})", issue.location, issue.text, issue.code));
            }
        }
        _ => {}
    }
    line + "\n"
}

fn words(outcome: RedriveOutcome, preview: bool) -> &'static str {
    match outcome {
        RedriveOutcome::AcceptedNow if preview => "would be accepted",
        RedriveOutcome::AcceptedNow => "accepted",
        RedriveOutcome::RedrivenBefore => "accepted before",
        RedriveOutcome::StillHeld => "still not accepted",
        RedriveOutcome::NotHeld => "not kept there, or of no registered feed",
        RedriveOutcome::PausedFeed => "not read: its feed is paused",
        RedriveOutcome::Erased => "not read: its content was erased",
        RedriveOutcome::Unspecified => "told in words of a newer node",
    }
}

fn text(position: Option<&proto::event::Position>) -> String {
    position.and_then(|p| Position::from_proto(p).ok()).map(|p| p.to_string()).unwrap_or_default()
}
