//! `weft feed check`: what Weft would make of messages. It opens no store and sends nothing.

use std::path::{Path, PathBuf};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use serde_json::json;
use weft_model::{Clock, Verdict, proto::event::When};
use weft_translate::{Outcome, Profile, Translation};

use crate::{
    commands::{Exit, send::split_messages},
    output, protobuf_json,
    system::SystemClock,
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Registration file of the feed
    file: PathBuf,
    /// Files with messages; one file may hold many. `-` reads standard input
    #[arg(required = true, value_name = "MESSAGE")]
    messages: Vec<PathBuf>,
    /// Print one JSON object a message
    #[arg(long)]
    json: bool,
}

/// Refused where any message would not be accepted.
pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let profile = super::parse_profile(&options.file, &super::read_profile(&options.file)?)?;
    let mut exit = Exit::Done;
    for path in &options.messages {
        let bytes = if path == Path::new("-") {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .context("cannot read standard input")?;
            bytes
        } else {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        };
        for (number, raw) in split_messages(&Bytes::from(bytes)).into_iter().enumerate() {
            let translation = weft_translate::translate(raw, &profile, 0);
            if translation.verdict != Verdict::Accepted {
                exit = Exit::Refused;
            }
            let place = format!("{}[{}]", path.display(), number + 1);
            if options.json {
                output::json_line(&as_json(&place, &profile, &translation)?)?;
            } else {
                output::data(&as_text(&place, &profile, &translation))?;
            }
        }
    }
    Ok(exit)
}

fn acknowledgement(profile: &Profile, translation: &Translation) -> String {
    let outcome = Outcome::Stored { verdict: translation.verdict, stored: translation.verdict };
    let reply = translation.acknowledge(profile, outcome, SystemClock.now_us(), "CHECK");
    String::from_utf8_lossy(&reply).replace('\r', "\n").trim_end().to_owned()
}

fn as_json(place: &str, profile: &Profile, translation: &Translation) -> anyhow::Result<serde_json::Value> {
    let mut message = translation.message.clone();
    message.raw.clear();
    Ok(json!({
        "message": place,
        "verdict": translation.verdict.as_str_name().to_lowercase(),
        "reason": translation.message.reason,
        "control_id": translation.control_id,
        "message_type": translation.message_type,
        "translation": protobuf_json::to_json("weft.event.v1.MessageReceived", &message)?,
        "facts": translation.message.facts.iter().map(|f| json!({
            "location": f.location,
            "resource_type": f.resource_type,
            "id": f.id,
            "withdrawn": f.withdrawn,
            "resource": serde_json::from_slice::<serde_json::Value>(&f.resource).unwrap_or_default(),
        })).collect::<Vec<_>>(),
        "acknowledgement": acknowledgement(profile, translation),
    }))
}

fn as_text(place: &str, profile: &Profile, translation: &Translation) -> String {
    let message = &translation.message;
    let mut text = format!(
        "{place}: {} {} -> {}{}{}\n",
        translation.message_type,
        translation.control_id,
        translation.verdict.as_str_name().to_lowercase(),
        if message.reason.is_empty() { "" } else { ": " },
        message.reason
    );
    if let Some(record) = &message.record {
        text.push_str(&format!("  record      {} {} {}\n", record.organisation, record.system, record.value));
    }
    for identifier in message.demographics.iter().flat_map(|d| &d.identifiers) {
        let kind = identifier.kind().as_str_name().to_lowercase().replace('_', "-");
        text.push_str(&format!(
            "  identifier  {kind} {} {} {}\n",
            identifier.system, identifier.value, identifier.status
        ));
    }
    if let Some(retired) = message.merge.as_ref().and_then(|m| m.retired.as_ref()) {
        text.push_str(&format!("  merge       retires {} {}\n", retired.system, retired.value));
    }
    for fact in &message.facts {
        let line = fact.line.clone().unwrap_or_default();
        let shown = |when: &Option<When>| when.as_ref().and_then(|w| w.to_fhir().ok()).unwrap_or_default();
        let taken_back = if fact.withdrawn { " withdrawn" } else { "" };
        text.push_str(&format!(
            "  fact        {:<10} {}/{}{taken_back}  {}  {} {}\n",
            fact.location,
            fact.resource_type,
            fact.id,
            shown(&fact.occurred),
            line.title,
            line.detail
        ));
    }
    for issue in &message.issues {
        let severity = issue.severity().as_str_name().to_lowercase();
        text.push_str(&format!("  {severity:<11} {:<10} {} ({})\n", issue.location, issue.text, issue.code));
    }
    for line in acknowledgement(profile, translation).lines() {
        text.push_str(&format!("  reply       {line}\n"));
    }
    text
}
