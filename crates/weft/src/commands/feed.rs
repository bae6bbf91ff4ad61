//! `weft feed`: registering, watching and trying feeds.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use weft_log::{Draft, Same, SharedLog};
use weft_model::{
    Clock, Payload, Position, Random, Stream, Verdict,
    proto::{
        api::{Feed, FeedState, GetFeedRequest, ListFeedsRequest, RegisterFeedRequest, SwitchFeedRequest},
        event::{FeedRegistered, FeedSwitched, Issue, When},
    },
};
use weft_translate::Profile;

use crate::{
    commands::{
        Exit, failure,
        reach::{self, Asker, refused},
    },
    config::Config,
    output, protobuf_json, stores,
    system::{SystemClock, SystemRandom},
    table,
};

mod check;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Register a feed from its file, or change it; on a running node and on a stopped one
    Add(Add),
    /// List the feeds with their state and counts
    List(List),
    /// Show one feed with its registration
    Show(Show),
    /// Stop listening: senders keep their messages
    Pause(Switch),
    /// Listen again
    Resume(Switch),
    /// Show what Weft would make of messages, without touching any store
    Check(check::Options),
}

#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Registration file (TOML; every key is described in schemas/feed.schema.json)
    file: PathBuf,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Feed identifier
    feed: String,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct Switch {
    /// Feed identifier
    feed: String,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Add(options) => add(config, options).await,
        Command::List(options) => list(config, options).await,
        Command::Show(options) => show(config, options).await,
        Command::Pause(options) => switch(config, options, true).await,
        Command::Resume(options) => switch(config, options, false).await,
        Command::Check(options) => check::run(&options),
    }
}

async fn add(config: &Path, options: Add) -> anyhow::Result<Exit> {
    let config = Config::read(config)?;
    let profile_toml = read_profile(&options.file)?;
    let profile = parse_profile(&options.file, &profile_toml)?;
    let context = options.asker.context(&config);
    let position = match reach::running(&config).await? {
        Some(mut clients) => {
            let request = RegisterFeedRequest { context: Some(context), profile_toml };
            let answer = clients.feed.register_feed(request).await.map_err(refused)?.into_inner();
            answer.position.and_then(|p| Position::from_proto(&p).ok())
        }
        None => {
            let registered = FeedRegistered { feed: profile.feed().to_owned(), profile_toml, by: context.user };
            Some(append_stopped(&config, profile.feed(), Payload::FeedRegistered(registered)).await?)
        }
    };
    let position = position.map(|p| p.to_string()).unwrap_or_default();
    output::data(&format!("{} {position}\n", profile.feed()))?;
    Ok(Exit::Done)
}

async fn list(config: &Path, options: List) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = ListFeedsRequest { context: Some(options.asker.context(&config)) };
    let answer = clients.feed.list_feeds(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.ListFeedsResponse", &answer)?)?;
    } else {
        output::data(&render(&answer.feeds))?;
    }
    Ok(Exit::Done)
}

async fn show(config: &Path, options: Show) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = GetFeedRequest { context: Some(options.asker.context(&config)), feed: options.feed };
    let answer = clients.feed.get_feed(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.GetFeedResponse", &answer)?)?;
    } else {
        output::data(&render(answer.feed.as_slice()))?;
        output::data(&format!("\n{}", answer.profile_toml))?;
    }
    Ok(Exit::Done)
}

async fn switch(config: &Path, options: Switch, pause: bool) -> anyhow::Result<Exit> {
    let config = Config::read(config)?;
    let context = options.asker.context(&config);
    if let Some(mut clients) = reach::running(&config).await? {
        let request = SwitchFeedRequest { context: Some(context), feed: options.feed.clone() };
        let answer =
            if pause { clients.feed.pause_feed(request).await } else { clients.feed.resume_feed(request).await };
        answer.map_err(refused)?;
    } else {
        let switched = FeedSwitched { feed: options.feed.clone(), by: context.user, reason: context.reason };
        let payload = if pause { Payload::FeedPaused(switched) } else { Payload::FeedResumed(switched) };
        append_stopped(&config, &options.feed, payload).await?;
    }
    output::data(&format!("{} {}\n", options.feed, if pause { "paused" } else { "resumed" }))?;
    Ok(Exit::Done)
}

/// Appends to the control stream of a log whose node is stopped. Switching a feed that was never registered is refused.
async fn append_stopped(config: &Config, feed: &str, payload: Payload) -> anyhow::Result<Position> {
    let log = stores::open_log(config).await?;
    if !matches!(payload, Payload::FeedRegistered(_)) && !is_registered(&log, feed).await? {
        log.close().await;
        return Err(failure(Exit::NotFound, format!("no feed {feed} is registered")));
    }
    let mut name = vec![0; 16];
    SystemRandom.fill(&mut name);
    let draft = Draft {
        same: Same::Name(name),
        feed: feed.to_owned(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: SystemClock.now_us(),
        cause: None,
        payload,
    };
    let receipts = log.append(vec![draft]).await?;
    log.close().await;
    Ok(receipts.first().context("the log gave no receipt")?.position)
}

async fn is_registered(log: &SharedLog, feed: &str) -> anyhow::Result<bool> {
    let control = Stream::Control.partition(0);
    let mut next = 0;
    while next < log.size(control).await? {
        for stored in log.read(control.at(next), weft_log::ReadLimit::PAGE).await? {
            next = stored.position.offset + 1;
            let header = weft_log::header(&stored)?;
            if header.feed == feed {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

fn read_profile(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The compiled profile; every mistake in the file is told with its place.
fn parse_profile(path: &Path, text: &str) -> anyhow::Result<Profile> {
    Profile::parse(text).map_err(|issues| {
        let lines: Vec<String> = issues.iter().map(line).collect();
        failure(Exit::Refused, format!("{} is no feed registration:\n{}", path.display(), lines.join("\n")))
    })
}

fn line(issue: &Issue) -> String {
    format!("  {}: {} ({})", issue.location, issue.text, issue.code)
}

fn render(feeds: &[Feed]) -> String {
    let rows: Vec<Vec<String>> = feeds
        .iter()
        .map(|feed| {
            let health = feed.health.clone().unwrap_or_default();
            let state = match feed.state() {
                FeedState::Unspecified => String::new(),
                FeedState::Listening => "listening".to_owned(),
                FeedState::Paused => "paused".to_owned(),
                FeedState::Failed => format!("failed: {}", health.problem),
            };
            let last = if health.last_received_us == 0 {
                "never".to_owned()
            } else {
                When::instant(health.last_received_us).to_display().unwrap_or_default()
            };
            let (all, held) = (health.received, health.held);
            let counts = [all, health.accepted, health.duplicate, health.conflict, health.quarantined, held];
            let mut row = vec![feed.feed.clone(), feed.organisation.clone(), state, feed.address.clone()];
            row.extend(counts.map(|count| count.to_string()));
            row.extend([health.connections.to_string(), last]);
            row
        })
        .collect();
    let head = [
        "FEED",
        "ORG",
        "STATE",
        "ADDRESS",
        "RECEIVED",
        "ACCEPTED",
        "DUPLICATE",
        "CONFLICT",
        "QUARANTINED",
        "HELD",
        "OPEN",
        "LAST",
    ];
    table::render(&head, &rows)
}
