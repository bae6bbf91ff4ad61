//! `weft bench query`: GetTimeline of 100 entries over gRPC, closed loop, while messages arrive. Every answer is recorded
//! in the log before it leaves: that is part of what is measured. The clients share the node's processors, so they take
//! each answer apart into its entries, count them, and read one answer of [`READ_EVERY`] to the last field.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use hdrhistogram::Histogram;
use prost::Message;
use weft_api::client;
use weft_model::{
    SourceRecordId,
    proto::api::{FindPersonsRequest, GetTimelineRequest, LocalIdentifier, TimelineEntry, find_persons_request::By},
};
use weft_synth::Population;

use super::{Common, Figures, bed, ingest::percentiles};
use crate::{commands::reach::refused, node::Node, roles::Roles, stores};

const READ_EVERY: usize = 16;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// People stored
    #[arg(long, default_value_t = 100_000)]
    people: u32,
    /// Of these, people with at least 100 timeline entries; they are the ones asked for
    #[arg(long, default_value_t = 500)]
    rich: u32,
    /// Clients, each with one request at a time
    #[arg(long, default_value_t = 16)]
    clients: u16,
    /// Messages per second that arrive meanwhile
    #[arg(long, default_value_t = 500)]
    ingest: u32,
    /// Seconds to measure
    #[arg(long, default_value_t = 15)]
    seconds: u32,
    #[command(flatten)]
    pub(crate) common: Common,
}

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    let mut figures = Figures::default();
    let site = bed::Site::new(&options.common)?;
    bed::measure_fsync(site.path(), &mut figures)?;
    let people = options.people as usize;
    let (stored, meanwhile) = (people * 3, (options.ingest * options.seconds * 2) as usize);
    let mut messages = weft_synth::bench_messages(options.common.seed, stored + meanwhile, people);
    let mut filler = site.filler().await?;
    filler.put_plain(messages.by_ref().take(stored)).await?;
    let records = put_rich(&mut filler, options.common.seed, options.rich).await?;
    let filled = filler.finish().await?;
    figures.add("messages_stored", filled as f64, "");
    project_all(&site).await?;

    let (node, clients, address) = site.start().await?;
    node.caught_up().await?;
    let persons = Arc::new(rich_persons(&clients, records).await?);
    let queues = bed::deal(messages, 4);
    let rate = f64::from(options.ingest);
    let stop = bed::Stop::default();
    let ingest = tokio::spawn(bed::drive_paced(address, queues, rate, stop.clone()));
    let mut askers = Vec::new();
    for number in 0..options.clients {
        let (persons, stop) = (persons.clone(), stop.clone());
        let clients = client::connect(&node.ready.grpc).await.context("cannot reach the node")?;
        askers.push(tokio::spawn(ask(clients, persons, usize::from(number) * 7, stop)));
    }
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(u64::from(options.seconds))).await;
    stop.store(true, Ordering::Relaxed);
    let seconds = start.elapsed().as_secs_f64();
    let mut latency = Histogram::<u64>::new(3)?;
    let mut entries = 0;
    for asker in askers {
        let (times, seen) = asker.await.context("a client ended early")??;
        latency.add(times)?;
        entries += seen;
    }
    let arrived = ingest.await.context("the sender ended early")??;
    figures.add("people_stored", f64::from(options.people), "");
    figures.add("ingest_per_second", arrived as f64 / seconds, "1/s");
    figures.add("queries_per_second", latency.len() as f64 / seconds, "1/s");
    figures.add("entries_per_answer", entries as f64 / latency.len() as f64, "");
    percentiles(&mut figures, ["query_p50_ms", "query_p99_ms"], &latency);
    figures.add("memory_of_node_and_clients", bed::resident_bytes(std::process::id())? as f64, "B");
    node.stop().await;
    Ok(figures)
}

/// Links live, then makes the read model in bulk: quicker than projecting it live, and equal to it.
async fn project_all(site: &bed::Site) -> anyhow::Result<()> {
    let log = stores::open_log(&site.config).await?;
    weft_readmodel::rebuild(log.clone(), &site.config.model_path(), None, weft_readmodel::Repeats::Never).await?;
    log.close().await;
    let node = Node::start(&site.config, &Roles::all()).await?;
    node.caught_up().await?;
    node.stop().await;
    Ok(())
}

/// Long histories at two organisations. Returns a record of each person.
async fn put_rich(filler: &mut bed::Filler, seed: u64, rich: u32) -> anyhow::Result<Vec<SourceRecordId>> {
    let mut readers = Vec::new();
    for feed in Population::generate(seed, 1).feeds() {
        readers.push(filler.register(feed).await?);
    }
    let mut records = Vec::new();
    for person in 0..rich {
        let mut record = None;
        // Each is the first adult of twenty people: twenty apart they are different people.
        for (feed, message) in weft_synth::long_history(seed, person * 20, 110) {
            let reader = readers.get(feed).context("a feed of the population")?;
            record = filler.put(reader, message.bytes).await?.or(record);
        }
        records.extend(record);
    }
    Ok(records)
}

async fn rich_persons(clients: &client::Clients, records: Vec<SourceRecordId>) -> anyhow::Result<Vec<String>> {
    let mut clients = clients.clone();
    let mut persons = Vec::new();
    for SourceRecordId { organisation, system, value } in records {
        let by = By::LocalIdentifier(LocalIdentifier { organisation, system, value });
        let request = FindPersonsRequest { context: Some(bed::context()), by: Some(by), limit: 1 };
        let found = clients.person.find_persons(request).await.map_err(refused)?.into_inner().persons;
        persons.push(found.into_iter().next().context("a person of the benchmark is not there")?.person_id);
    }
    Ok(persons)
}

async fn ask(
    clients: client::Clients,
    persons: Arc<Vec<String>>,
    first: usize,
    stop: bed::Stop,
) -> anyhow::Result<(Histogram<u64>, u64)> {
    let mut times = Histogram::<u64>::new(3)?;
    let mut entries = 0;
    for (number, person) in persons.iter().cycle().skip(first).enumerate() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let request = GetTimelineRequest {
            context: Some(bed::context()),
            person_id: person.clone(),
            page_size: 100,
            ..GetTimelineRequest::default()
        };
        let start = Instant::now();
        let answer = clients.timeline_encoded(request).await.map_err(refused)?;
        if number % READ_EVERY == 0 {
            answer.iter().try_for_each(|entry| TimelineEntry::decode(entry.clone()).map(drop))?;
        }
        times.record(u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX))?;
        entries += answer.len() as u64;
    }
    Ok((times, entries))
}
