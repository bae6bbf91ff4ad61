//! A closed-loop load generator: what the demo, the benchmarks and the tests drive a listener with.
//!
//! One task per connection, one write and usually one read per message, nothing allocated per message but what the
//! caller's observer does. It shares the machine with what it measures, so it has to be cheap.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::{
    ack::code_of,
    client::{ClientError, MllpClient},
    tls::ClientTls,
};

/// Latencies are told up to this, with two significant digits.
const LATENCY_US_MAX: u64 = 60_000_000;

/// Told of every answer: the message and its acknowledgement, both without framing.
pub type Observer = Arc<dyn Fn(&Bytes, &[u8]) + Send + Sync>;

/// Where and how to send.
#[derive(Clone)]
pub struct LoadOptions {
    /// The listener.
    pub address: SocketAddr,
    /// With TLS, or in the clear.
    pub tls: Option<ClientTls>,
    /// Messages of one connection that await their acknowledgement at most; 1 is a closed loop as hospitals run it.
    pub in_flight: usize,
    /// How long to wait for an acknowledgement.
    pub timeout: Duration,
    /// Called for every answer, from the task of its connection.
    pub observer: Option<Observer>,
}

/// What to send.
#[derive(Debug, Clone)]
pub enum Messages {
    /// Every connection takes the next message of all: as fast as possible, no order between connections.
    Shared {
        /// Messages without framing.
        messages: Arc<[Bytes]>,
        /// Number of connections.
        connections: usize,
    },
    /// One connection per queue, each in its order.
    PerConnection(Vec<Vec<Bytes>>),
}

/// What came back.
#[derive(Debug, Clone)]
pub struct LoadReport {
    /// Messages written.
    pub sent: u64,
    /// Answered AA or CA.
    pub aa: u64,
    /// Answered AE or CE.
    pub ae: u64,
    /// Answered AR or CR.
    pub ar: u64,
    /// Answered with anything else.
    pub other: u64,
    /// Written, but never answered: the connection ended or the time was up.
    pub unanswered: u64,
    /// From the first connection to the last answer.
    pub seconds: f64,
    /// Microseconds from a message's write to its acknowledgement.
    pub latency_us: Histogram<u64>,
    /// The first connection's failure, where there was one. That connection sent nothing more; the others went on.
    pub problem: Option<String>,
}

impl LoadOptions {
    /// In the clear, one message at a time, 30 seconds for each.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, tls: None, in_flight: 1, timeout: Duration::from_secs(30), observer: None }
    }
}

impl LoadReport {
    /// Answers of any kind.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.aa + self.ae + self.ar + self.other
    }

    /// Answers per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.answered() as f64 / self.seconds } else { 0.0 }
    }

    fn empty() -> Self {
        Self {
            sent: 0,
            aa: 0,
            ae: 0,
            ar: 0,
            other: 0,
            unanswered: 0,
            seconds: 0.0,
            latency_us: histogram(),
            problem: None,
        }
    }

    fn add(&mut self, other: Self) {
        self.sent += other.sent;
        self.aa += other.aa;
        self.ae += other.ae;
        self.ar += other.ar;
        self.other += other.other;
        self.unanswered += other.unanswered;
        // Same bounds: adding cannot fail.
        let _ = self.latency_us.add(&other.latency_us);
        if self.problem.is_none() {
            self.problem = other.problem;
        }
    }
}

/// Sends all `messages` and returns when each is answered or its connection has failed.
pub async fn drive(options: LoadOptions, messages: Messages) -> LoadReport {
    let started = Instant::now();
    let sources: Vec<Source> = match messages {
        Messages::Shared { messages, connections } => {
            let next = Arc::new(AtomicUsize::new(0));
            (0..connections.max(1))
                .map(|_| Source { messages: Arc::clone(&messages), next: Arc::clone(&next) })
                .collect()
        }
        Messages::PerConnection(queues) => {
            queues.into_iter().map(|queue| Source { messages: queue.into(), next: Arc::default() }).collect()
        }
    };
    let senders: Vec<_> =
        sources.into_iter().map(|source| tokio::spawn(Sender::new(options.clone(), source).run())).collect();
    let mut report = LoadReport::empty();
    for sender in senders {
        match sender.await {
            Ok(part) => report.add(part),
            Err(error) => report.problem = Some(error.to_string()),
        }
    }
    report.seconds = started.elapsed().as_secs_f64();
    report
}

/// Hands out messages, each once.
struct Source {
    messages: Arc<[Bytes]>,
    next: Arc<AtomicUsize>,
}

impl Source {
    fn next(&self) -> Option<Bytes> {
        self.messages.get(self.next.fetch_add(1, Ordering::Relaxed)).cloned()
    }
}

/// One connection.
struct Sender {
    options: LoadOptions,
    source: Source,
    awaited: VecDeque<(Bytes, Instant)>,
    report: LoadReport,
}

impl Sender {
    fn new(options: LoadOptions, source: Source) -> Self {
        Self { options, source, awaited: VecDeque::new(), report: LoadReport::empty() }
    }

    async fn run(mut self) -> LoadReport {
        if let Err(error) = self.send_all().await {
            let cause = std::error::Error::source(&error).map(|source| format!(": {source}"));
            self.report.problem = Some(format!("{error}{}", cause.unwrap_or_default()));
        }
        self.report.unanswered = self.awaited.len() as u64;
        self.report
    }

    async fn send_all(&mut self) -> Result<(), ClientError> {
        let connected = MllpClient::connect(self.options.address, self.options.tls.as_ref()).await?;
        let mut client = connected.with_timeout(self.options.timeout);
        loop {
            let waiting = self.awaited.len();
            while self.awaited.len() < self.options.in_flight.max(1) {
                let Some(message) = self.source.next() else { break };
                self.awaited.push_back((message, Instant::now()));
            }
            let fresh = self.awaited.len() - waiting;
            if fresh > 0 {
                self.report.sent += fresh as u64;
                client.write(self.awaited.iter().skip(waiting).map(|(message, _)| message.as_ref())).await?;
            }
            if self.awaited.is_empty() {
                return Ok(());
            }
            let ack = client.receive().await?;
            self.count(&ack);
        }
    }

    fn count(&mut self, ack: &Bytes) {
        let Some((message, sent)) = self.awaited.pop_front() else { return };
        let latency_us = u64::try_from(sent.elapsed().as_micros()).unwrap_or(LATENCY_US_MAX);
        self.report.latency_us.saturating_record(latency_us);
        *match code_of(ack) {
            b"AA" | b"CA" => &mut self.report.aa,
            b"AE" | b"CE" => &mut self.report.ae,
            b"AR" | b"CR" => &mut self.report.ar,
            _ => &mut self.report.other,
        } += 1;
        if let Some(observer) = &self.options.observer {
            observer(&message, ack);
        }
    }
}

#[expect(clippy::expect_used, reason = "the bounds are constants that the crate accepts")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LATENCY_US_MAX, 2).expect("constant bounds")
}
