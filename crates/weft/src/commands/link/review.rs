//! `weft link review` and `weft link explain`: what waits for a steward, and why records are where they are.

use std::path::Path;

use clap::Args;
use weft_model::proto::{
    api::{ExplainRequest, Explanation, ListReviewsRequest, Review},
    event::When,
};

use super::subject::{About, Shown, position_text, waterfall};
use crate::{
    commands::{
        Exit,
        reach::{self, Asker, refused},
    },
    output, protobuf_json, table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Most dangerous first: overlays (one NHS number, two people), then numbers that contradict, then the rest, the nearest to
the threshold first. Answer with `weft link accept` or `weft link reject` and the question's position.")]
pub(crate) struct ReviewOptions {
    /// Only questions with this code, for example nhs-number-demographics-disagree
    #[arg(long)]
    code: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainOptions {
    /// A question of the review queue (identity/0/17), or a record as ORGANISATION/SYSTEM/NUMBER
    about: About,
    /// Print the answer as JSON (the protobuf's JSON mapping)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    asker: Asker,
}

pub(crate) async fn review(config: &Path, options: ReviewOptions) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = ListReviewsRequest {
        context: Some(options.asker.context(&config)),
        code: options.code.unwrap_or_default(),
        page_size: options.limit,
        page_token: String::new(),
    };
    let answer = clients.link.list_reviews(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.ListReviewsResponse", &answer)?)?;
        return Ok(Exit::Done);
    }
    let rows: Vec<Vec<String>> = answer.reviews.iter().map(row).collect();
    output::data(&table::render(&["QUESTION", "ASKED", "RECORD", "WITH", "OR", "SCORE", "CODES"], &rows))?;
    let counts: Vec<String> = answer.counts.iter().map(|count| format!("{} {}", count.waiting, count.code)).collect();
    crate::talk!(
        "{} wait: {}",
        answer.waiting,
        if counts.is_empty() { "nothing".to_owned() } else { counts.join(", ") }
    );
    Ok(Exit::Done)
}

pub(crate) async fn explain(config: &Path, options: ExplainOptions) -> anyhow::Result<Exit> {
    let (config, mut clients) = reach::node(config).await?;
    let request = ExplainRequest { context: Some(options.asker.context(&config)), subject: Some(options.about.into()) };
    let answer = clients.link.explain(request).await.map_err(refused)?.into_inner();
    if options.json {
        output::json_line(&protobuf_json::to_json("weft.v1.ExplainResponse", &answer)?)?;
        return Ok(Exit::Done);
    }
    let held = if answer.held { ", placed by a steward" } else { "" };
    let mut text = format!("{} is with {}{held}\n", Shown(answer.record.as_ref()), answer.person_id);
    if let Some(review) = &answer.review {
        let other = if review.other_person_id.is_empty() { "itself" } else { &review.other_person_id };
        text.push_str(&format!(
            "waits for a steward at {}: {}; in question: {other}\n",
            position_text(review.position.as_ref()),
            review.codes.join(" ")
        ));
        text.push_str(&waterfall(&review.evidence, review.score, review.threshold));
    }
    for decision in &answer.decisions {
        text.push_str(&describe(decision));
    }
    output::data(&text)?;
    Ok(Exit::Done)
}

fn row(review: &Review) -> Vec<String> {
    vec![
        position_text(review.position.as_ref()),
        When::instant(review.asked_us).to_display().unwrap_or_default(),
        Shown(review.record.as_ref()).to_string(),
        review.person_id.clone(),
        review.other_person_id.clone(),
        review.score.to_string(),
        review.codes.join(" "),
    ]
}

fn describe(decision: &Explanation) -> String {
    let method = decision.method().as_str_name().to_lowercase().replace('_', "-");
    let decided = When::instant(decision.decided_us).to_display().unwrap_or_default();
    let position = position_text(decision.position.as_ref());
    let mut text = format!("\n{position}  {decided}  {method} -> {}\n", decision.person_id);
    if let Some(steward) = &decision.steward {
        let what = steward.decision().as_str_name().to_lowercase().replace('_', "-");
        text.push_str(&format!(
            "    {what} by {}, {} of {}: {}\n",
            steward.by, steward.role, steward.organisation, steward.reason
        ));
        return text;
    }
    text.push_str(&waterfall(&decision.evidence, decision.score, decision.threshold));
    let versions = [&decision.model, &decision.normaliser, &decision.frequencies];
    let versions: Vec<&str> = versions.into_iter().map(String::as_str).filter(|v| !v.is_empty()).collect();
    text.push_str(&format!("    {}; {} record(s) compared\n", versions.join(", "), decision.candidates));
    for other in decision.others.iter().filter(|other| other.person_id != decision.person_id) {
        text.push_str(&format!("    {:>8}  {} came near\n", other.score, other.person_id));
    }
    for code in &decision.review {
        text.push_str(&format!("    asked for review: {code}\n"));
    }
    text
}
