//! How fast the connector receives: sockets, translation, durable append and acknowledgement, and nothing behind them.
//!
//! The load generator runs on the same cores, in a runtime of its own: closed loop, one message outstanding on each
//! connection, ADT^A01 of about 1.4 KB, eight messages for each patient. Twice: on the embedded log, and on the log in
//! memory, which shows what everything but the disk costs.
//!
//! ```text
//! cargo run --release -p weft-connect --example receive_speed -- [DIRECTORY] [CONNECTIONS] [MESSAGES] [IN_FLIGHT]
//! cargo run --release -p weft-connect --example receive_speed -- cost [DIRECTORY] [CONNECTIONS] [ROUNDS]
//! ```
//!
//! `cost` says what proof costs of a message from its first byte to its acknowledgement: two connectors beside each other
//! are sent the same messages in turns of 10,000, about a second of a busy node. One appends as every node does, and each of
//! its turns ends with a cut. The other's log stores events as large, unsealed, unhashed and without keys, and nothing is
//! cut. Counted is the processor time of this process without the threads of the load generator; the median of the turns is
//! compared.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark prints, and fails by panicking"
)]

use std::{
    env,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use tokio::runtime::Runtime;
use weft_connect::{Connector, ConnectorOptions, LoadOptions, Messages, drive};
use weft_log::{Draft, EmbeddedLog, MemoryLog, Notary, OpenOptions, Remembered, Same, SharedLog, SigningKey, Vault};
use weft_model::{Clock, Payload, Random, Verdict, proto::event::FeedRegistered};

struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "the one real clock of this program")]
    fn now_us(&self) -> i64 {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        i64::try_from(now.as_micros()).unwrap()
    }
}

/// Keys of a benchmark guard nothing: a counter will do.
impl Random for System {
    fn fill(&self, bytes: &mut [u8]) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        for chunk in bytes.chunks_mut(8) {
            let next = NEXT.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            chunk.copy_from_slice(&next.to_le_bytes()[..chunk.len()]);
        }
    }
}

fn main() {
    let mut arguments = env::args().skip(1).peekable();
    if arguments.next_if_eq("cost").is_some() {
        let dir = arguments.next().unwrap_or_else(|| "target/receive_speed".to_owned());
        let connections: usize = arguments.next().map_or(32, |n| n.parse().unwrap());
        let rounds: usize = arguments.next().map_or(10, |n| n.parse().unwrap());
        return cost(Path::new(&dir), connections, rounds);
    }
    let dir = arguments.next().unwrap_or_else(|| "target/receive_speed".to_owned());
    let connections: usize = arguments.next().map_or(32, |n| n.parse().unwrap());
    let messages: usize = arguments.next().map_or(100_000, |n| n.parse().unwrap());
    let in_flight: usize = arguments.next().map_or(1, |n| n.parse().unwrap());
    let dir = Path::new(&dir);
    let _ = std::fs::remove_dir_all(dir);
    let vault = |name: &str| {
        let keys = dir.join(name);
        Vault::create(&keys, &System).unwrap();
        Arc::new(Vault::open(&keys, Arc::new(System)).unwrap())
    };
    let node = runtime("node");
    let embedded = node.block_on(EmbeddedLog::open(OpenOptions::new(dir.join("log"), vault("keys")))).unwrap();
    measure("embedded log", &node, Arc::new(embedded), connections, messages, in_flight);
    let memory = node.block_on(async { MemoryLog::new(vault("keys-of-memory")) });
    measure("log in memory", &node, Arc::new(memory), connections, messages, in_flight);
    std::fs::remove_dir_all(dir).unwrap();
}

fn measure(name: &str, node: &Runtime, log: SharedLog, connections: usize, messages: usize, in_flight: usize) {
    let connector = node.block_on(connect(&log));
    let address = connector.status().borrow()["pas"].address.unwrap();
    let messages: Arc<[Bytes]> = (0..messages).map(admission).collect();
    let options = LoadOptions { in_flight, ..LoadOptions::new(address) };
    let report = runtime("load").block_on(drive(options, Messages::Shared { messages, connections }));
    println!(
        "{name}: {connections} connections, {in_flight} in flight: {:.0} ACK/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms \
         (aa {}, ae {}, ar {}, unanswered {})",
        report.per_second(),
        report.latency_us.value_at_quantile(0.5) as f64 / 1000.0,
        report.latency_us.value_at_quantile(0.99) as f64 / 1000.0,
        report.latency_us.max() as f64 / 1000.0,
        report.aa,
        report.ae,
        report.ar,
        report.unanswered,
    );
    node.block_on(async {
        connector.shutdown().await;
        log.close().await;
    });
}

async fn connect(log: &SharedLog) -> Connector {
    log.append(vec![registration()]).await.unwrap();
    let connector = Connector::start(ConnectorOptions::new(Arc::clone(log), Arc::new(System)));
    connector.caught_up().await.unwrap();
    connector
}

fn runtime(thread_name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name(thread_name).enable_all().build().unwrap()
}

/// Messages of a turn.
const TURN: usize = 10_000;

fn cost(dir: &Path, connections: usize, rounds: usize) {
    let _ = std::fs::remove_dir_all(dir);
    let (node, load) = (runtime("node"), runtime("load"));
    let (proven, bare) =
        (node.block_on(Beside::start(&dir.join("proven"))), node.block_on(Beside::start(&dir.join("bare"))));
    bare.log.store_bare();
    let (mut with_proof, mut without) = (Vec::new(), Vec::new());
    // The first turn fills caches and is not counted.
    for round in 0..=rounds {
        let messages: Arc<[Bytes]> = (round * TURN..(round + 1) * TURN).map(admission).collect();
        let cpu = proven.turn(&node, &load, &messages, connections, true);
        let cpu_bare = bare.turn(&node, &load, &messages, connections, false);
        if round > 0 {
            with_proof.push(cpu);
            without.push(cpu_bare);
        }
    }
    let (with_proof, without) = (median(with_proof), median(without));
    println!(
        "a message received, sealed, hashed and cut: {with_proof:.1} us CPU; bare: {without:.1} us; so proof is {:.1} us, \
         {:.1} % of what a message costs from the socket to its acknowledgement",
        with_proof - without,
        100.0 * (1.0 - without / with_proof),
    );
    node.block_on(async {
        for Beside { log, connector, .. } in [proven, bare] {
            connector.shutdown().await;
            weft_log::EventLog::close(&*log).await;
        }
    });
    std::fs::remove_dir_all(dir).unwrap();
}

/// One of two nodes that are compared.
struct Beside {
    log: Arc<EmbeddedLog>,
    connector: Connector,
    notary: Notary,
}

impl Beside {
    async fn start(dir: &Path) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        Vault::create(&dir.join("vault"), &System).unwrap();
        let vault = Arc::new(Vault::open(&dir.join("vault"), Arc::new(System)).unwrap());
        let log = Arc::new(EmbeddedLog::open(OpenOptions::new(dir.join("log"), vault)).await.unwrap());
        let notary = Notary {
            log: log.clone(),
            key: SigningKey::generate("example.nhs.uk/speed", &System).unwrap(),
            clock: Arc::new(System),
            nodes: dir.join("merkle"),
            remembered: Remembered::new(dir.join("checkpoint")),
        };
        let connector = connect(&(log.clone() as SharedLog)).await;
        Self { log, connector, notary }
    }

    /// Receives the messages of a turn. Returns the microseconds of the node's processor time that each took.
    fn turn(&self, node: &Runtime, load: &Runtime, messages: &Arc<[Bytes]>, connections: usize, cut: bool) -> f64 {
        let address = self.connector.status().borrow()["pas"].address.unwrap();
        let before = node_cpu_us();
        let messages = Messages::Shared { messages: Arc::clone(messages), connections };
        let report = load.block_on(drive(LoadOptions::new(address), messages));
        assert_eq!(report.aa, TURN as u64, "{:?}", report.problem);
        if cut {
            node.block_on(self.notary.cut_now()).unwrap();
        }
        (node_cpu_us() - before) / TURN as f64
    }
}

/// Processor time of all threads of this process but the generator's workers, which do all of its work. Source:
/// /proc/self/task/TID/schedstat, in nanoseconds; a thread that has ended is missing, and none of these ends.
fn node_cpu_us() -> f64 {
    let mut ns = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let dir = task.unwrap().path();
        let name = std::fs::read_to_string(dir.join("comm")).unwrap();
        if name.trim() != "load" {
            let times = std::fs::read_to_string(dir.join("schedstat")).unwrap();
            ns += times.split(' ').next().unwrap().parse::<f64>().unwrap();
        }
    }
    ns / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn registration() -> Draft {
    let profile_toml = "feed = \"pas\"\norganisation = \"RYJ\"\n[mllp]\nlisten = \"127.0.0.1:0\"\n".to_owned();
    Draft {
        same: Same::Name(b"pas".to_vec()),
        feed: "pas".to_owned(),
        control_id: String::new(),
        message_type: String::new(),
        verdict: Verdict::Unspecified,
        received_us: 0,
        cause: None,
        payload: Payload::FeedRegistered(FeedRegistered { feed: "pas".to_owned(), profile_toml, by: String::new() }),
    }
}

/// An admission as a patient administration system writes it, about 1.4 KB.
fn admission(n: usize) -> Bytes {
    let mrn = 1_000_000 + n / 8;
    let mut message = format!(
        "MSH|^~\\&|PAS|RYJ|ROUTE|ROUTE|20240501103005||ADT^A01^ADT_A01|B{n:08}|P|2.4|||AL|NE|GBR|UNICODE UTF-8\r\
         EVN|A01|20240501103005||||20240501102500\r\
         PID|1||{mrn}^^^RYJ^MR~9990000000^^^NHS^NH||O'CONNOR^SIOBHAN^MARY^^MRS^^L||19620317|2|||12 PORTOBELLO \
         ROAD^NOTTING HILL^LONDON^^W11 2DZ^GBR^H||0207 946 0123^PRN^PH|0207 946 0999^WPN^PH|EN|M|CHR|||||A|||||||N\r\
         PD1|||THE SURGERY^^E87067|G8901234^SMITH^JOHN^^^DR^^^GMC\r\
         NK1|1|O'CONNOR^PATRICK|HUSBAND|12 PORTOBELLO ROAD^NOTTING HILL^LONDON^^W11 2DZ|0207 946 0123\r\
         PV1|1|I|W6B^BAY 2^BED 4^RYJ01||||C3456789^PATEL^ANITA^^^MS^^^GMC|||300||||19|||C3456789^PATEL^ANITA^^^MS^^^GMC\
         |INP|V{n:08}^^^RYJ^VISITID||||||||||||||||||||||||20240501102500\r\
         DG1|1|I10|I50.0^CONGESTIVE HEART FAILURE^I10|CONGESTIVE HEART FAILURE|20240501|A\r\
         AL1|1|DA|91936005^ALLERGY TO PENICILLIN^SCT|MO|RASH|20100101\r"
    );
    let padding = 1400usize.saturating_sub(message.len() + 10);
    message.push_str(&format!("NTE|1||{}\r", "x".repeat(padding)));
    message.into()
}
