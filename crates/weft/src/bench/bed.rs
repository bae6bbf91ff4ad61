//! What a benchmark runs on: a site in a temporary folder, a node in this process, and one feed.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use bytes::Bytes;
use tempfile::TempDir;
use weft_api::client::{self, Clients};
use weft_connect::{LoadOptions, LoadReport, Messages, MllpClient};
use weft_log::{Draft, Same, SharedLog};
use weft_model::{
    Clock, Payload, Random, SourceRecordId, Verdict,
    proto::{
        api::{RegisterFeedRequest, RequestContext},
        event::FeedRegistered,
    },
};
use weft_synth::SynthFeed;
use weft_translate::Profile;

use super::{Common, Figures};
use crate::{
    commands::{
        init,
        reach::{Ready, refused},
    },
    config::Config,
    node::Node,
    roles::Roles,
    stores,
    system::{SystemClock, SystemRandom},
};

/// A site, not yet running.
pub(crate) struct Site {
    dir: TempDir,
    pub(crate) config: Config,
}

impl Site {
    pub(crate) fn new(common: &Common) -> anyhow::Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix("weft-bench-");
        let dir = match &common.dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let dir = dir.context("cannot make a temporary folder")?;
        init::run(&init::Options::plain(dir.path().to_owned()))?;
        let config = Config::read(&dir.path().join("weft.toml"))?;
        Ok(Self { dir, config })
    }

    /// A site whose log is on these brokers and whose rest is in this database, under names that no other run has. They
    /// stay when the site is gone: an append-only log has no command that takes it away.
    pub(crate) fn on_services(common: &Common, brokers: &str, postgres: &str) -> anyhow::Result<Self> {
        let mut site = Self::new(common)?;
        let name = name_of_run();
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let (brokers, url) = (quoted(brokers), quoted(postgres));
        let backends = format!(
            "\n[kafka]\nbrokers = {brokers}\nprefix = \"{name}\"\n\n[postgres]\nurl = {url}\nschema = \"{name}\"\n"
        );
        let file = site.config_file();
        let text = std::fs::read_to_string(&file).context("cannot read the configuration")?;
        std::fs::write(&file, text + &backends).context("cannot write the configuration")?;
        site.config = Config::read(&file)?;
        crate::talk!("on Kafka as topics {name}.*, in PostgreSQL as schemas {name}_*: they stay, drop them by hand");
        Ok(site)
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.path().join("weft.toml")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Starts a node with the benchmark's feed. Returns the feed's address.
    pub(crate) async fn start(&self) -> anyhow::Result<(Node, Clients, SocketAddr)> {
        let node = Node::start(&self.config, &Roles::all()).await?;
        let mut clients = client::connect(&node.ready.grpc).await.context("cannot reach the node")?;
        let SynthFeed { id, profile_toml } = weft_synth::bench_feed();
        let request = RegisterFeedRequest { context: Some(context()), profile_toml };
        clients.feed.register_feed(request).await.map_err(refused)?;
        let address = node.mllp_addresses().get(id).context("the feed does not listen")?.parse()?;
        Ok((node, clients, address))
    }

    /// Opens the log of a node that is not running, to fill it before what is measured.
    pub(crate) async fn filler(&self) -> anyhow::Result<Filler> {
        Ok(Filler { log: stores::open_log(&self.config).await?, batch: Vec::new(), written: 0 })
    }
}

/// Writes messages to a log as the connector would, without sockets.
pub(crate) struct Filler {
    log: SharedLog,
    batch: Vec<Draft>,
    written: u64,
}

impl Filler {
    /// Registers a feed. What is put for it is read by its profile.
    pub(crate) async fn register(&mut self, feed: &SynthFeed) -> anyhow::Result<Reader> {
        let registered = FeedRegistered {
            feed: feed.id.to_owned(),
            profile_toml: feed.profile_toml.clone(),
            by: "bench".to_owned(),
        };
        let draft = Draft {
            same: Same::Name(feed.id.as_bytes().to_vec()),
            feed: feed.id.to_owned(),
            control_id: String::new(),
            message_type: String::new(),
            verdict: Verdict::Unspecified,
            received_us: SystemClock.now_us(),
            cause: None,
            payload: Payload::FeedRegistered(registered),
        };
        let receipts = self.log.append(vec![draft]).await?;
        let revision = receipts.first().context("the log gave no receipt")?.position.offset;
        let profile = Profile::parse(&feed.profile_toml).map_err(|issues| anyhow::anyhow!("profile: {issues:?}"))?;
        Ok(Reader { profile, revision })
    }

    /// Writes one message. Returns the record that it is about.
    pub(crate) async fn put(&mut self, reader: &Reader, message: Vec<u8>) -> anyhow::Result<Option<SourceRecordId>> {
        let translation = weft_translate::translate(Bytes::from(message), &reader.profile, reader.revision);
        let record = translation.message.record.clone();
        self.batch.push(Draft {
            same: Same::Message,
            feed: reader.profile.feed().to_owned(),
            control_id: translation.control_id,
            message_type: translation.message_type,
            verdict: translation.verdict,
            received_us: SystemClock.now_us(),
            cause: None,
            payload: Payload::MessageReceived(translation.message),
        });
        if self.batch.len() == 256 {
            self.flush().await?;
        }
        Ok(record)
    }

    /// Writes plain messages of the benchmark's feed.
    pub(crate) async fn put_plain(&mut self, messages: impl Iterator<Item = Vec<u8>>) -> anyhow::Result<()> {
        let reader = self.register(&weft_synth::bench_feed()).await?;
        for message in messages {
            self.put(&reader, message).await?;
        }
        Ok(())
    }

    /// The log that is written to.
    pub(crate) fn log(&self) -> SharedLog {
        self.log.clone()
    }

    /// Closes the log. Returns how many messages were written.
    pub(crate) async fn finish(mut self) -> anyhow::Result<u64> {
        self.flush().await?;
        self.log.close().await;
        Ok(self.written)
    }

    /// Writes what was put and is not written yet.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        self.written += self.log.append(std::mem::take(&mut self.batch)).await?.len() as u64;
        Ok(())
    }
}

/// How a feed's messages are read.
pub(crate) struct Reader {
    profile: Profile,
    revision: u64,
}

pub(crate) fn context() -> RequestContext {
    RequestContext {
        user: "bench".to_owned(),
        role: "clinician".to_owned(),
        organisation: "RYJ".to_owned(),
        purpose: "direct-care".to_owned(),
        reason: "benchmark on generated people".to_owned(),
    }
}

/// A name for topics and schemas that no other run has.
pub(crate) fn name_of_run() -> String {
    let mut bytes = [0; 4];
    SystemRandom.fill(&mut bytes);
    format!("weft_bench_{:08x}", u32::from_be_bytes(bytes))
}

/// A node as a process of its own. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    pub(crate) ready: Ready,
}

impl Process {
    /// Starts this program as a node with these roles, all where none is named, and waits until it is ready.
    pub(crate) fn serve(site: &Site, roles: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.arg("--config").arg(site.config_file()).arg("serve").env("WEFT_LOG", "warn").stdout(Stdio::piped());
        command.args(roles.iter().flat_map(|role| ["--role", *role]));
        let mut child = command.spawn().context("cannot start a node")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("no stdout of the node")?;
        let read = BufReader::new(stdout).read_line(&mut line).context("cannot read the node's ready line");
        let ready = read
            .and_then(|_| serde_json::from_str(&line).with_context(|| format!("the node did not get ready: {line}")));
        match ready {
            Ok(ready) => Ok(Self { child, ready }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL; when that was.
    pub(crate) fn kill(mut self) -> anyhow::Result<Instant> {
        self.child.kill().context("cannot kill the node")?;
        let killed = Instant::now();
        self.child.wait().context("cannot wait for the node")?;
        Ok(killed)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time that this process has used, in seconds. Source: /proc/self/stat, utime and stime, in hundredths.
pub(crate) fn cpu_seconds() -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("cannot read this process's times")?;
    // "pid (name) state ...": the name may hold anything, the last bracket ends it.
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    Ok(times.sum::<Result<f64, _>>().context("times of this process")? / 100.0)
}

/// Time that the thread of this folder of /proc has been on a processor: what else runs on the machine does not count.
/// Source: schedstat there, in nanoseconds.
fn on_cpu_time(thread: &Path) -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string(thread.join("schedstat")).context("cannot read a thread's times")?;
    Ok(Duration::from_nanos(text.split_whitespace().next().context("no figure")?.parse()?))
}

/// The same of this thread, without going through /proc: what is asked many thousand times a second.
pub(crate) fn own_on_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Processor time that the threads of this process with this name have used, in seconds.
fn thread_seconds(name: &str) -> anyhow::Result<f64> {
    let mut all = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").context("cannot read this process's threads")? {
        let dir = task?.path();
        // One that has ended meanwhile has none of the name.
        if std::fs::read_to_string(dir.join("comm")).is_ok_and(|comm| comm.trim_end() == name) {
            all += on_cpu_time(&dir)?;
        }
    }
    Ok(all.as_secs_f64())
}

/// Adds the time that one append of 4 KiB and fdatasync takes on this disk: median and 99th percentile of 200.
pub(crate) fn measure_fsync(dir: &Path, figures: &mut Figures) -> anyhow::Result<()> {
    let path = dir.join("fsync-probe");
    let mut file = std::fs::File::create(&path).context("cannot write to the measured folder")?;
    let mut times: Vec<Duration> = Vec::with_capacity(200);
    for _ in 0..200 {
        file.write_all(&[0x5a; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    times.sort();
    let ms = |n: usize| times.get(n).map_or(0.0, |t| t.as_secs_f64() * 1000.0);
    figures.add("fsync_p50_ms", ms(100), "ms");
    figures.add("fsync_p99_ms", ms(198), "ms");
    Ok(())
}

/// Deals messages to connections in turn.
pub(crate) fn deal(messages: impl Iterator<Item = Vec<u8>>, connections: usize) -> Vec<Vec<Bytes>> {
    let mut queues = vec![Vec::new(); connections];
    for (number, message) in messages.enumerate() {
        if let Some(queue) = queues.get_mut(number % connections) {
            queue.push(Bytes::from(message));
        }
    }
    queues
}

/// Sends at `rate` messages a second over all queues together, one connection a queue, until `stop` or the end. A late
/// acknowledgement is caught up with: what counts is the rate over the run. Returns how many were sent.
pub(crate) async fn drive_paced(
    address: SocketAddr,
    queues: Vec<Vec<Bytes>>,
    rate: f64,
    stop: Stop,
) -> anyhow::Result<u64> {
    let pause = Duration::from_secs_f64(queues.len() as f64 / rate);
    let mut connections = tokio::task::JoinSet::new();
    for (number, queue) in queues.into_iter().enumerate() {
        let stop = stop.clone();
        connections.spawn(async move {
            let mut client = MllpClient::connect(address, None).await?;
            // Spread over the pause, or all connections would send at once.
            tokio::time::sleep(pause.mul_f64((number % 16) as f64 / 16.0)).await;
            let mut tick = tokio::time::interval(pause);
            let mut sent = 0;
            for message in queue {
                tick.tick().await;
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                client.send(&message).await?;
                sent += 1;
            }
            anyhow::Ok(sent)
        });
    }
    let mut sent = 0;
    while let Some(connection) = connections.join_next().await {
        sent += connection.context("a connection ended early")??;
    }
    Ok(sent)
}

/// Runs one closed-loop load, and fails where a connection did.
pub(crate) async fn drive(address: SocketAddr, queues: Vec<Vec<Bytes>>) -> anyhow::Result<LoadReport> {
    let report = weft_connect::drive(LoadOptions::new(address), Messages::PerConnection(queues)).await;
    match report.problem {
        Some(problem) => bail!("sending failed: {problem}"),
        None => Ok(report),
    }
}

/// The same from threads of its own; also the processor time of this process meanwhile without theirs, in seconds: the
/// node's.
pub(crate) async fn drive_apart(address: SocketAddr, queues: Vec<Vec<Bytes>>) -> anyhow::Result<(LoadReport, f64)> {
    const LOAD: &str = "load";
    let load = tokio::runtime::Builder::new_multi_thread().thread_name(LOAD).worker_threads(2).enable_all().build();
    let load = load.context("cannot start the generator")?;
    let before = cpu_seconds()?;
    let report = load.spawn(drive(address, queues)).await.context("the generator ended early")?;
    let node = cpu_seconds()? - before - thread_seconds(LOAD)?;
    load.shutdown_background();
    Ok((report?, node))
}

/// Resident memory of a process, bytes. Source: /proc/PID/status, VmRSS.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).context("cannot read the memory of the node")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no VmRSS")?.parse()?;
    Ok(kib << 10)
}

/// A shared stop sign for background work.
pub(crate) type Stop = Arc<AtomicBool>;
