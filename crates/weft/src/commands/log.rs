//! `weft log`: looking at the event log itself, beside a running node or without one.

use std::{collections::BTreeMap, path::Path};

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weft_log::{PartitionStatistics, ReadLimit, SharedLog, Statistics, Stored};
use weft_model::{Partition, Payload, Position, Stream, Verdict, proto::event::When};

use crate::{
    commands::{Exit, cut},
    config::Config,
    output, protobuf_json, stores, table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Count events by stream and by verdict
    Stat(Stat),
    /// Print events, oldest first
    Tail(Tail),
    /// Look at cuts: how long every partition was at a time, and what it held, signed
    #[command(subcommand)]
    Cut(cut::Command),
    /// Write a proof that an event is in the log, to be checked anywhere with the public key alone
    Prove(cut::Prove),
}

#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Tail {
    /// Start at this position, and print only its stream; else every stream from its beginning
    #[arg(long, value_name = "POSITION")]
    from: Option<Position>,
    /// Only this stream: feed, identity, control or access
    #[arg(long, value_parser = stream, conflicts_with = "from")]
    stream: Option<Stream>,
    /// Stay, and print what is appended
    #[arg(long)]
    follow: bool,
    /// Also open the payloads. They speak of patients, and reading them here is not recorded: it needs the node's keys
    #[arg(long)]
    open: bool,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(config: &Path, command: Command) -> anyhow::Result<Exit> {
    let config = Config::read(config)?;
    match command {
        Command::Stat(options) => stat(&stores::open_log_read_only(&config).await?, &options).await,
        Command::Tail(options) => tail(&stores::open_log_read_only(&config).await?, &options).await,
        // Cuts and proofs need no key.
        Command::Cut(command) => cut::run(&*stores::open_evidence(&config).await?, command).await,
        Command::Prove(options) => cut::prove(&config, &*stores::open_evidence(&config).await?, &options).await,
    }
}

async fn stat(log: &SharedLog, options: &Stat) -> anyhow::Result<Exit> {
    let statistics = log.statistics().await?;
    if options.json {
        output::json_line(&as_json(&statistics))?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = statistics
        .partitions
        .iter()
        .map(|p| {
            let (oldest, newest) = ends(p.partition, p.events);
            vec![p.partition.to_string(), p.events.to_string(), p.bytes.to_string(), oldest, newest]
        })
        .collect();
    output::data(&table::render(&["PARTITION", "EVENTS", "BYTES", "OLDEST", "NEWEST"], &rows))?;
    let rows: Vec<Vec<String>> = statistics
        .feeds
        .iter()
        .map(|f| {
            let counts = [f.received(), f.accepted, f.duplicate, f.conflict, f.quarantined, f.redriven];
            [f.feed.clone()].into_iter().chain(counts.map(|c| c.to_string())).collect()
        })
        .collect();
    let head = ["FEED", "RECEIVED", "ACCEPTED", "DUPLICATE", "CONFLICT", "QUARANTINED", "REDRIVEN"];
    output::data(&format!("\n{}\n{} bytes on disk\n", table::render(&head, &rows), statistics.disk_bytes))?;
    Ok(Exit::Done)
}

fn as_json(statistics: &Statistics) -> Value {
    let mut streams: BTreeMap<&str, Vec<&PartitionStatistics>> = BTreeMap::new();
    for p in &statistics.partitions {
        streams.entry(p.partition.stream.name()).or_default().push(p);
    }
    let streams = streams.into_iter().map(|(stream, partitions)| (stream, stream_json(&partitions)));
    let partitions = statistics.partitions.iter().map(|p| {
        let (oldest, newest) = ends(p.partition, p.events);
        let row = json!({"events": p.events, "bytes": p.bytes, "oldest": oldest, "newest": newest});
        (p.partition.to_string(), row)
    });
    let sum = |count: fn(&weft_log::FeedStatistics) -> u64| statistics.feeds.iter().map(count).sum::<u64>();
    let feeds: BTreeMap<&str, Value> = statistics.feeds.iter().map(|f| (f.feed.as_str(), counts(f))).collect();
    json!({
        "streams": streams.collect::<BTreeMap<_, _>>(),
        "partitions": partitions.collect::<BTreeMap<_, _>>(),
        "verdicts": {
            "received": sum(weft_log::FeedStatistics::received),
            "accepted": sum(|f| f.accepted),
            "duplicate": sum(|f| f.duplicate),
            "conflict": sum(|f| f.conflict),
            "quarantined": sum(|f| f.quarantined),
        },
        "feeds": feeds,
        "redriven": sum(|f| f.redriven),
        "size_bytes": statistics.disk_bytes,
    })
}

/// A stream of one partition has an oldest and a newest event; of several, each partition has.
fn stream_json(partitions: &[&PartitionStatistics]) -> Value {
    let sum = |count: fn(&PartitionStatistics) -> u64| partitions.iter().map(|p| count(p)).sum::<u64>();
    let mut stream = json!({"events": sum(|p| p.events), "bytes": sum(|p| p.bytes)});
    if let ([p], Value::Object(fields)) = (partitions, &mut stream) {
        let (oldest, newest) = ends(p.partition, p.events);
        fields.extend([("oldest".to_owned(), oldest.into()), ("newest".to_owned(), newest.into())]);
    }
    stream
}

fn counts(feed: &weft_log::FeedStatistics) -> Value {
    json!({
        "received": feed.received(),
        "accepted": feed.accepted,
        "duplicate": feed.duplicate,
        "conflict": feed.conflict,
        "quarantined": feed.quarantined,
    })
}

fn ends(partition: Partition, events: u64) -> (String, String) {
    match events.checked_sub(1) {
        Some(last) => (partition.at(0).to_string(), partition.at(last).to_string()),
        None => (String::new(), String::new()),
    }
}

async fn tail(log: &SharedLog, options: &Tail) -> anyhow::Result<Exit> {
    let mut places: BTreeMap<Partition, u64> = match options.from {
        Some(position) => BTreeMap::from([(position.partition, position.offset)]),
        None => log.partitions().into_iter().map(|p| (p, 0)).collect(),
    };
    if let Some(stream) = options.stream {
        places.retain(|partition, _| partition.stream == stream);
    }
    loop {
        for (partition, next) in &mut places {
            loop {
                let page = log.read(partition.at(*next), ReadLimit::PAGE).await?;
                let Some(last) = page.last() else { break };
                *next = last.position.offset + 1;
                for stored in &page {
                    print(log, stored, options).await?;
                }
            }
        }
        if !options.follow {
            return Ok(Exit::Done);
        }
        // Another process appends: there is nothing to wait on but time.
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

async fn print(log: &SharedLog, stored: &Stored, options: &Tail) -> anyhow::Result<()> {
    let header = weft_log::header(stored)?;
    let kind = header.kind().as_str_name().to_lowercase();
    let verdict = match header.verdict() {
        Verdict::Unspecified => String::new(),
        verdict => verdict.as_str_name().to_lowercase(),
    };
    let received = When::instant(header.received_us).to_fhir().unwrap_or_default();
    let payload = if options.open { Some(opened(log, stored).await?) } else { None };
    if !options.json {
        let open = payload.map(|p| format!("  {p}")).unwrap_or_default();
        return output::data(&format!(
            "{}  {}  {kind}  {}  {}  {verdict}  {received}{open}\n",
            stored.position,
            header.id(),
            header.feed,
            header.control_id
        ));
    }
    let mut line = json!({
        "position": stored.position.to_string(),
        "event_id": header.id().to_string(),
        "kind": kind,
        "feed": header.feed,
        "control_id": header.control_id,
        "message_type": header.message_type,
        "verdict": verdict,
        "received": received,
    });
    let redrives = header.redrives.as_ref().and_then(|redrives| Position::from_proto(redrives.position.as_ref()?).ok());
    if let (Some(redrives), Some(line)) = (redrives, line.as_object_mut()) {
        line.insert("redrives".to_owned(), redrives.to_string().into());
    }
    if let (Some(payload), Some(line)) = (payload, line.as_object_mut()) {
        line.insert("payload".to_owned(), payload);
    }
    output::json_line(&line)
}

/// The payload's JSON mapping, or why it cannot be shown.
async fn opened(log: &SharedLog, stored: &Stored) -> anyhow::Result<Value> {
    let event = match log.open(stored).await {
        Ok(event) => event,
        Err(error @ weft_log::OpenError::Shredded { .. }) => return Ok(json!({"error": error.to_string()})),
        Err(error) => return Err(error.into()),
    };
    match &event.payload {
        Payload::MessageReceived(m) => protobuf_json::to_json("weft.event.v1.MessageReceived", m),
        Payload::RecordLinked(m) => protobuf_json::to_json("weft.event.v1.RecordLinked", m),
        Payload::RecordsMerged(m) => protobuf_json::to_json("weft.event.v1.RecordsMerged", m),
        Payload::RecordsUnlinked(m) => protobuf_json::to_json("weft.event.v1.RecordsUnlinked", m),
        Payload::PersonsMerged(m) => protobuf_json::to_json("weft.event.v1.PersonsMerged", m),
        Payload::StewardDecided(m) => protobuf_json::to_json("weft.event.v1.StewardDecided", m),
        Payload::ReviewAsked(m) => protobuf_json::to_json("weft.event.v1.ReviewAsked", m),
        Payload::NhsNumberFrozen(m) | Payload::NhsNumberReleased(m) => {
            protobuf_json::to_json("weft.event.v1.NhsNumberSwitched", m)
        }
        Payload::NhsNumberSuperseded(m) => protobuf_json::to_json("weft.event.v1.NhsNumberSuperseded", m),
        Payload::LinkModelSwitched(m) => protobuf_json::to_json("weft.event.v1.LinkModelSwitched", m),
        Payload::FeedRegistered(m) => protobuf_json::to_json("weft.event.v1.FeedRegistered", m),
        Payload::FeedPaused(m) | Payload::FeedResumed(m) => protobuf_json::to_json("weft.event.v1.FeedSwitched", m),
        Payload::CutTaken(m) => protobuf_json::to_json("weft.event.v1.CutTaken", m),
        Payload::Disclosed(m) => protobuf_json::to_json("weft.event.v1.Disclosed", m),
        Payload::RequestRefused(m) => protobuf_json::to_json("weft.event.v1.RequestRefused", m),
    }
}

fn stream(text: &str) -> Result<Stream, String> {
    Stream::ALL
        .into_iter()
        .find(|s| s.name() == text)
        .ok_or_else(|| "one of feed, identity, control, access".to_owned())
}
