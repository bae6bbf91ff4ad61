//! `weft demo`: a whole node on generated people, fed through real sockets, and what it makes of them.

use std::{
    collections::HashMap,
    io::IsTerminal,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use weft_api::client::{self, Clients};
use weft_connect::{LoadOptions, Messages};
use weft_log::{FeedStatistics, Statistics};
use weft_model::{
    PersonId, Pseudonym, SourceRecordId,
    proto::api::{GetTimelineRequest, RegisterFeedRequest, RequestContext},
};
use weft_synth::Population;

use crate::{
    commands::{Exit, reach::refused, timeline},
    config::Config,
    node::Node,
    output,
    roles::Roles,
};

/// Connections that each feed sends over. A person's messages stay on one of them, so that their order holds.
const CONNECTIONS_PER_FEED: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// People to generate
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    people: u32,
    /// Seed of the population: the same seed makes the same people and messages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End when everything has been shown, instead of going on to serve
    #[arg(long)]
    exit: bool,
    /// Print one JSON object as the last line of stdout
    #[arg(long)]
    json: bool,
}

/// What came of it.
struct Result {
    statistics: Statistics,
    precision: f64,
    recall: f64,
    persons: usize,
    first_timeline: Duration,
    all: Duration,
    acks: Histogram<u64>,
    sending: Duration,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let dir = tempfile::Builder::new().prefix("weft-demo-").tempdir().context("cannot make a temporary folder")?;
    let config_path = make_site(dir.path())?;
    let config = Config::read(&config_path)?;
    let node = Node::start(&config, &Roles::all()).await?;
    crate::talk!("a node is running in {}", dir.path().display());
    let mut clients = client::connect(&node.ready.grpc).await.context("cannot reach the node")?;
    let population = Arc::new(Population::generate(options.seed, options.people as usize));
    for feed in population.feeds() {
        let request = RegisterFeedRequest { context: Some(context()), profile_toml: feed.profile_toml.clone() };
        clients.feed.register_feed(request).await.map_err(refused)?;
        crate::talk!("registered feed {}", feed.id);
    }
    let (acks, sending) = send_all(&node, &population).await?;
    node.caught_up().await?;
    let (person, precision, recall, persons) = score(&node, &population).await?;
    show_timeline(&mut clients, person).await?;
    let first_timeline = start.elapsed();
    let statistics = node.log.statistics().await?;
    let result = Result { statistics, precision, recall, persons, first_timeline, all: start.elapsed(), acks, sending };
    output::data(&result.text(options.people))?;
    if options.json {
        output::json_line(&result.json())?;
    }
    if !options.exit {
        tell_how_to_ask(&node, &config_path, person);
        tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    }
    node.stop().await;
    Ok(Exit::Done)
}

/// What `weft init` would write, in a temporary folder.
fn make_site(dir: &std::path::Path) -> anyhow::Result<PathBuf> {
    let options = super::init::Options::plain(dir.to_owned());
    super::init::run(&options)?;
    Ok(dir.join("weft.toml"))
}

fn context() -> RequestContext {
    RequestContext {
        user: "demo".to_owned(),
        role: "clinician".to_owned(),
        organisation: "RYJ".to_owned(),
        purpose: "direct-care".to_owned(),
        reason: "demonstration on generated people".to_owned(),
    }
}

/// Sends every feed's messages over its own connections, all feeds at once. Returns the times to acknowledgement in
/// microseconds, and how long sending took.
async fn send_all(node: &Node, population: &Arc<Population>) -> anyhow::Result<(Histogram<u64>, Duration)> {
    let bars = MultiProgress::new();
    if !std::io::stderr().is_terminal() {
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }
    let addresses = node.mllp_addresses();
    let mut senders = Vec::new();
    let mut queues = Vec::new();
    for (number, feed) in population.feeds().iter().enumerate() {
        let address = addresses.get(feed.id).with_context(|| format!("feed {} does not listen", feed.id))?.parse()?;
        let mut feed_queues = vec![Vec::new(); CONNECTIONS_PER_FEED];
        for message in population.messages(number) {
            if let Some(queue) = feed_queues.get_mut(message.person as usize % CONNECTIONS_PER_FEED) {
                queue.push(Bytes::from(message.bytes));
            }
        }
        let total = feed_queues.iter().map(Vec::len).sum::<usize>() as u64;
        let bar = bars.add(ProgressBar::new(total)).with_prefix(feed.id);
        bar.set_style(ProgressStyle::with_template("{prefix:>10} {bar:40} {pos}/{len} {per_sec}")?);
        queues.push((address, feed_queues, bar));
    }
    let start = Instant::now();
    for (address, feed_queues, bar) in queues {
        senders.push(tokio::spawn(async move {
            let counted = bar.clone();
            let options =
                LoadOptions { observer: Some(Arc::new(move |_, _| counted.inc(1))), ..LoadOptions::new(address) };
            let report = weft_connect::drive(options, Messages::PerConnection(feed_queues)).await;
            bar.finish();
            report
        }));
    }
    let mut acks = Histogram::<u64>::new(2)?;
    for sender in senders {
        let report = sender.await?;
        if let Some(problem) = report.problem {
            bail!("sending failed: {problem}");
        }
        acks.add(report.latency_us)?;
    }
    Ok((acks, start.elapsed()))
}

/// Compares links with the hidden truth, by pairs of records; and picks a person whom several organisations know.
async fn score(node: &Node, population: &Population) -> anyhow::Result<(PersonId, f64, f64, usize)> {
    let found = persons_of_records(node).await?;
    let mut by_truth: HashMap<u32, Vec<(PersonId, String)>> = HashMap::new();
    for row in population.truth() {
        let record = SourceRecordId {
            organisation: row.organisation.to_owned(),
            system: row.system.to_owned(),
            value: row.value,
        };
        if let Some(person) = found.get(&node.log.pseudonym(&record)) {
            by_truth.entry(row.person).or_default().push((*person, record.organisation));
        }
    }
    let pairs = |n: u64| n * n.saturating_sub(1) / 2;
    let mut together: HashMap<PersonId, u64> = HashMap::new();
    let (mut truly, mut both) = (0, 0);
    let mut shown: Option<(usize, u32, PersonId)> = None;
    for (truth, records) in &by_truth {
        truly += pairs(records.len() as u64);
        let mut here: HashMap<PersonId, Vec<&str>> = HashMap::new();
        for (person, organisation) in records {
            *together.entry(*person).or_default() += 1;
            here.entry(*person).or_default().push(organisation);
        }
        for (person, organisations) in &mut here {
            both += pairs(organisations.len() as u64);
            organisations.sort_unstable();
            organisations.dedup();
            // The most organisations; of those the first by number, so that a seed always shows the same person.
            if shown.is_none_or(|(most, first, _)| {
                (organisations.len(), std::cmp::Reverse(*truth)) > (most, std::cmp::Reverse(first))
            }) {
                shown = Some((organisations.len(), *truth, *person));
            }
        }
    }
    let linked: u64 = together.values().map(|n| pairs(*n)).sum();
    let ratio = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
    let (_, _, person) = shown.context("no record of the population arrived")?;
    Ok((person, ratio(both, linked), ratio(both, truly), together.len()))
}

/// The person of every record, with merges followed.
async fn persons_of_records(node: &Node) -> anyhow::Result<HashMap<Pseudonym, PersonId>> {
    let snapshot = node.model.linking_snapshot(&weft_model::Cut::default()).await?;
    let mut persons: HashMap<Pseudonym, PersonId> = snapshot.links.into_iter().collect();
    let merges: HashMap<Pseudonym, Pseudonym> = snapshot.merges.into_iter().collect();
    for retired in merges.keys() {
        let mut survivor = *retired;
        while let Some(next) = merges.get(&survivor) {
            survivor = *next;
        }
        if let Some(person) = persons.get(&survivor).copied() {
            persons.insert(*retired, person);
        }
    }
    Ok(persons)
}

async fn show_timeline(clients: &mut Clients, person: PersonId) -> anyhow::Result<()> {
    let request = GetTimelineRequest {
        context: Some(context()),
        person_id: person.to_string(),
        page_size: 30,
        ..GetTimelineRequest::default()
    };
    let answer = clients.timeline.get_timeline(request).await.map_err(refused)?.into_inner();
    output::data(&format!("\nOne person's history, newest first (person {person})\n\n"))?;
    output::data(&timeline::render(&answer.entries))
}

fn tell_how_to_ask(node: &Node, config: &std::path::Path, person: PersonId) {
    let config = config.display();
    let context =
        r#"{"user":"me","role":"clinician","organisation":"RYJ","purpose":"direct-care","reason":"trying it"}"#;
    crate::talk!("\nThe node goes on serving. In another terminal:\n");
    crate::talk!("  weft --config {config} timeline {person}");
    crate::talk!("  weft --config {config} person show {person}");
    crate::talk!("  weft --config {config} feed list");
    crate::talk!("  weft --config {config} quarantine list");
    crate::talk!("  weft --config {config} log stat");
    crate::talk!(
        "  grpcurl -plaintext -d '{{\"context\":{context},\"person_id\":\"{person}\"}}' {} weft.v1.TimelineService/GetTimeline",
        node.ready.grpc
    );
    crate::talk!("\nCtrl-C ends it and deletes the folder.");
}

impl Result {
    fn sum(&self, count: fn(&FeedStatistics) -> u64) -> u64 {
        self.statistics.feeds.iter().map(count).sum()
    }

    fn acks_per_second(&self) -> f64 {
        self.acks.len() as f64 / self.sending.as_secs_f64()
    }

    fn ms(&self, quantile: f64) -> f64 {
        self.acks.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn text(&self, people: u32) -> String {
        let [received, accepted, duplicate, conflict, quarantined] = self.counts();
        format!(
            "\nmessages   {received} received = {accepted} accepted + {duplicate} duplicate + {conflict} conflict + {quarantined} quarantined\n\
             acks       {:.0} per second over {} connections, p50 {:.2} ms, p99 {:.2} ms\n\
             persons    {} found, {people} generated\n\
             links      precision {:.4}, recall {:.4} (pairs of records, against the hidden truth)\n\
             seconds    {:.2} to the timeline, {:.2} in all\n",
            self.acks_per_second(),
            CONNECTIONS_PER_FEED * self.statistics.feeds.len(),
            self.ms(0.5),
            self.ms(0.99),
            self.persons,
            self.precision,
            self.recall,
            self.first_timeline.as_secs_f64(),
            self.all.as_secs_f64(),
        )
    }

    fn counts(&self) -> [u64; 5] {
        [
            self.sum(FeedStatistics::received),
            self.sum(|f| f.accepted),
            self.sum(|f| f.duplicate),
            self.sum(|f| f.conflict),
            self.sum(|f| f.quarantined),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let [received, accepted, duplicate, conflict, quarantined] = self.counts();
        json!({
            "messages": {
                "received": received, "accepted": accepted, "duplicate": duplicate, "conflict": conflict,
                "quarantined": quarantined,
            },
            "links": {"precision": self.precision, "recall": self.recall},
            "persons": self.persons,
            "seconds": {"first_timeline": self.first_timeline.as_secs_f64(), "all": self.all.as_secs_f64()},
            "acks": {"per_second": self.acks_per_second(), "p50_ms": self.ms(0.5), "p99_ms": self.ms(0.99)},
        })
    }
}
