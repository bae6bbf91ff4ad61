//! `weft quarantine`: messages that are kept but not projected.

use std::path::Path;

use clap::{Args, Subcommand};
use weft_model::{
    Position,
    proto::{
        api::{GetQuarantinedRequest, ListQuarantineRequest, QuarantinedMessage},
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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List quarantined and conflicting messages, newest first
    List(List),
    /// Show one with its bytes and issues; the answer is recorded
    Show(Show),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this feed
    #[arg(long)]
    feed: Option<String>,
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

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::List(options) => list(config, options).await,
        Command::Show(options) => show(config, options).await,
    }
}

async fn list(config: &Path, options: List) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = ListQuarantineRequest {
        context: Some(options.asker.context(&config)),
        feed: options.feed.unwrap_or_default(),
        page_size: options.limit,
        page_token: String::new(),
    };
    let answer = clients.feed.list_quarantine(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.ListQuarantineResponse", &answer)?)?;
    } else {
        let rows: Vec<Vec<String>> = answer.messages.iter().map(row).collect();
        output::data(&table::render(
            &["POSITION", "RECEIVED", "FEED", "CONTROL ID", "TYPE", "VERDICT", "REASON", "ISSUES"],
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
    let position = message.position.as_ref().and_then(|p| Position::from_proto(p).ok());
    vec![
        position.map(|p| p.to_string()).unwrap_or_default(),
        When::instant(message.received_us).to_display().unwrap_or_default(),
        message.feed.clone(),
        message.control_id.clone(),
        message.message_type.clone(),
        message.verdict().as_str_name().to_lowercase(),
        message.reason.clone(),
        message.issues.iter().map(|i| i.location.as_str()).collect::<Vec<_>>().join(" "),
    ]
}
