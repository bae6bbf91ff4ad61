//! `weft bench ingest`: durable acknowledgements per second, and the time from a message to the timeline.
//!
//! Closed loop: every connection waits for the acknowledgement of one message before it sends the next, as hospital
//! systems do. The generator runs in the same process, on the same cores. Once with the connector alone, and once with the
//! whole node: while messages are acknowledged, the linker and the projector work on those before. With `--kafka` and
//! `--postgres` the same again on brokers and a database, whose own work is done on the same cores where they run here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use hdrhistogram::Histogram;
use weft_connect::MllpClient;

use super::{Common, Figures, bed};
use crate::{
    node::Node,
    roles::{Role, Roles},
};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Connections of the throughput run
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
    /// Messages of the throughput run
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// People that the messages are about
    #[arg(long, default_value_t = 20_000)]
    people: u32,
    /// Messages per second of the run that measures the time to the timeline
    #[arg(long, default_value_t = 5000)]
    rate: u32,
    /// Seconds of that run
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Also measure with the log on these brokers, HOST:PORT,...
    #[arg(long, value_name = "BROKERS", requires = "postgres")]
    kafka: Option<String>,
    /// And with the read model, the inbox and the keys in this database: postgres://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long, value_name = "URL", requires = "kafka")]
    postgres: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Messages of the run over one connection.
const ONE_CONNECTION: usize = 3000;
/// Messages that are watched until they are in the timeline.
const PROBES_PER_SECOND: usize = 50;
/// What is told of the brokers and the database as a multiple of the files.
const COMPARED: [&str; 9] = [
    "receive_only_acks_per_second",
    "receive_only_node_cpu_us_per_message",
    "one_connection_acks_per_second",
    "one_connection_p50_ms",
    "acks_per_second",
    "acks_p99_ms",
    "feed_to_timeline_per_second",
    "timeline_rate_per_second",
    "timeline_lag_p99_ms",
];

pub(crate) async fn run(options: Options) -> anyhow::Result<Figures> {
    const KAFKA: &str = "kafka_";
    let mut figures = Figures::default();
    let sites = [bed::Site::new(&options.common)?, bed::Site::new(&options.common)?];
    bed::measure_fsync(sites[0].path(), &mut figures)?;
    measure(&options, &sites, &mut figures).await?;
    if let (Some(brokers), Some(postgres)) = (&options.kafka, &options.postgres) {
        let site = || bed::Site::on_services(&options.common, brokers, postgres);
        figures.measured_at(KAFKA);
        measure(&options, &[site()?, site()?], &mut figures).await?;
        figures.measured_at("");
        COMPARED.iter().for_each(|name| figures.add_ratio(name, KAFKA));
    }
    Ok(figures)
}

/// Measures receiving alone on the first site, and the whole node on the second.
async fn measure(options: &Options, [alone, site]: &[bed::Site; 2], figures: &mut Figures) -> anyhow::Result<()> {
    let people = options.people as usize;
    // One run of messages for all: every control id is used once.
    let paced = options.rate as usize * options.seconds as usize;
    let probes = options.seconds as usize * PROBES_PER_SECOND;
    let burst = options.messages as usize;
    let total = ONE_CONNECTION + 2 * burst + paced + probes;
    let mut messages = weft_synth::bench_messages(options.common.seed, total, people);
    let connections = usize::from(options.connections);

    // The connector alone, on a log of its own: what receiving costs, without what is made of the messages.
    let mut filler = alone.filler().await?;
    filler.register(&weft_synth::bench_feed()).await?;
    filler.finish().await?;
    let node = Node::start(&alone.config, &Roles::of(&[Role::Connect])).await?;
    let address = node.mllp_addresses().into_values().next().context("the feed does not listen")?.parse()?;
    let (report, cpu) = bed::drive_apart(address, bed::deal(messages.by_ref().take(burst), connections)).await?;
    figures.add("connections", f64::from(options.connections), "");
    figures.add("receive_only_acks_per_second", report.per_second(), "1/s");
    figures.add("receive_only_node_cpu_us_per_message", cpu * 1e6 / burst as f64, "us");
    percentiles(figures, ["receive_only_p50_ms", "receive_only_p99_ms"], &report.latency_us);
    node.stop().await;

    // The whole node.
    let (node, _clients, address) = site.start().await?;
    let report = bed::drive(address, bed::deal(messages.by_ref().take(ONE_CONNECTION), 1)).await?;
    figures.add("one_connection_acks_per_second", report.per_second(), "1/s");
    percentiles(figures, ["one_connection_p50_ms", "one_connection_p99_ms"], &report.latency_us);

    let queues = bed::deal(messages.by_ref().take(burst), connections);
    let bytes: usize = queues.iter().flatten().map(Bytes::len).sum();
    let (start, cpu) = (Instant::now(), bed::cpu_seconds()?);
    let report = bed::drive(address, queues).await?;
    figures.add("message_bytes_mean", bytes as f64 / options.messages as f64, "B");
    figures.add("acks_per_second", report.per_second(), "1/s");
    percentiles(figures, ["acks_p50_ms", "acks_p99_ms"], &report.latency_us);
    figures.add("acks_not_accepted", (report.answered() - report.aa) as f64, "");
    let behind = Instant::now();
    node.caught_up().await?;
    figures.add("timeline_behind_after_burst_s", behind.elapsed().as_secs_f64(), "s");
    figures.add("feed_to_timeline_per_second", burst as f64 / start.elapsed().as_secs_f64(), "1/s");
    figures.add("cpu_us_per_message", (bed::cpu_seconds()? - cpu) * 1e6 / burst as f64, "us");

    let queues = bed::deal(messages.by_ref().take(paced), connections);
    let probes = messages.map(Bytes::from).collect();
    measure_lag(f64::from(options.rate), node, address, queues, probes, figures).await
}

/// Sends at a fixed rate over the same number of connections, and watches other messages until the timeline has them: each from before its first byte is sent until the read model and the linker are past its position.
async fn measure_lag(
    rate: f64,
    node: Node,
    address: std::net::SocketAddr,
    queues: Vec<Vec<Bytes>>,
    probes: Vec<Bytes>,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let node = Arc::new(node);
    let probe = tokio::spawn(probe(node.clone(), address, probes, Duration::from_secs(1) / PROBES_PER_SECOND as u32));
    let start = Instant::now();
    let sent = bed::drive_paced(address, queues, rate, bed::Stop::default()).await?;
    let seconds = start.elapsed().as_secs_f64();
    let lags = probe.await.context("the probe ended early")??;
    node.caught_up().await?;
    figures.add("timeline_rate_per_second", sent as f64 / seconds, "1/s");
    percentiles(figures, ["timeline_lag_p50_ms", "timeline_lag_p99_ms"], &lags);
    figures.add("timeline_lag_samples", lags.len() as f64, "");
    if let Some(node) = Arc::into_inner(node) {
        node.stop().await;
    }
    Ok(())
}

/// Sends a message every `pause`, and measures until each is visible, in microseconds.
async fn probe(
    node: Arc<Node>,
    address: std::net::SocketAddr,
    messages: Vec<Bytes>,
    pause: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let mut client = MllpClient::connect(address, None).await?;
    let mut lags = Histogram::<u64>::new(3)?;
    let mut waiting = tokio::task::JoinSet::new();
    let mut tick = tokio::time::interval(pause);
    for message in &messages {
        tick.tick().await;
        let sent = Instant::now();
        client.send(message).await?;
        let stored = node.messages().await?;
        let node = node.clone();
        waiting.spawn(async move { node.visible(&stored).await.map(|()| sent.elapsed()) });
    }
    while let Some(lag) = waiting.join_next().await {
        lags.record(u64::try_from(lag??.as_micros()).unwrap_or(u64::MAX))?;
    }
    Ok(lags)
}

/// Adds median and 99th percentile of a histogram of microseconds, in milliseconds.
pub(super) fn percentiles(figures: &mut Figures, names: [&'static str; 2], us: &Histogram<u64>) {
    for (name, quantile) in names.into_iter().zip([0.5, 0.99]) {
        figures.add(name, us.value_at_quantile(quantile) as f64 / 1000.0, "ms");
    }
}
