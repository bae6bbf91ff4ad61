//! PostgreSQL and Kafka that belong to one test, which may kill them, stop them, and start them again on their data.

use std::path::{Path, PathBuf};

use crate::{
    needs::{Need, not_run},
    process::{Service, free_port, script},
    proxy::Proxy,
};

/// A PostgreSQL server with a cluster of its own.
pub struct PostgresServer {
    dir: tempfile::TempDir,
    log: tempfile::NamedTempFile,
    port: u16,
    environment: Vec<(String, String)>,
    service: Option<Service>,
}

/// A Kafka cluster of one or more brokers, each also a controller.
pub struct KafkaCluster {
    dir: tempfile::TempDir,
    voters: String,
    brokers: Vec<Broker>,
}

struct Broker {
    port: u16,
    /// Listeners beside the plain one, as `tests/services/kafka` is told of them.
    environment: Vec<(String, String)>,
    service: Option<Service>,
}

/// The account of [`KafkaCluster::start_secure`].
pub const KAFKA_USER: &str = "weft";
/// Its password.
pub const KAFKA_PASSWORD: &str = "swordfish";

impl PostgresServer {
    /// Starts a new cluster. `None` where PostgreSQL is not installed: the test does not run.
    ///
    /// # Errors
    /// With what the server said.
    pub fn start() -> anyhow::Result<Option<Self>> {
        Self::start_with(&[])
    }

    /// The same, with these variables in the environment of the server.
    ///
    /// # Errors
    /// With what the server said.
    pub fn start_with(environment: &[(String, String)]) -> anyhow::Result<Option<Self>> {
        if script("postgres", &["where"], &[]).is_err() {
            not_run(Need::Service, "PostgreSQL (tests/services/postgres install)");
            return Ok(None);
        }
        let (dir, log) = (tempfile::tempdir()?, tempfile::NamedTempFile::new()?);
        let mut server = Self { dir, log, port: free_port()?, environment: environment.to_vec(), service: None };
        server.restart()?;
        Ok(Some(server))
    }

    /// One that takes no connection but over TLS. `certificates` holds `node.pem` and `node.key`, as `weft init --tls` makes
    /// them.
    ///
    /// # Errors
    /// With what the server said.
    pub fn start_secure(certificates: &Path) -> anyhow::Result<Option<Self>> {
        Self::start_with(&[("WEFT_POSTGRES_TLS".to_owned(), certificates.display().to_string())])
    }

    /// URL of its first database.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.address())
    }

    /// `host:port`, for a proxy in front.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills every process of it with SIGKILL.
    pub fn kill(&mut self) {
        self.service = None;
    }

    /// Starts it again, on the same data and port.
    ///
    /// # Errors
    /// With what the server said.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.kill();
        let (dir, port) = (self.dir.path().display().to_string(), self.port.to_string());
        let arguments = ["server", &dir, &port];
        self.service = Some(Service::start("postgres", &arguments, &self.environment, self.port, self.log.path())?);
        script("postgres", &["ready", &port], &[])?;
        Ok(())
    }

    /// Stops every process of it where it is, as a machine that hangs; connections stay open and nothing answers.
    pub fn stall(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        if let Some(service) = &self.service {
            service.signal(signal);
        }
    }
}

/// URL of the database of a server that is reached at `address`, `host:port`.
#[must_use]
pub fn postgres_url(address: &str) -> String {
    url(address)
}

fn url(address: &str) -> String {
    format!("postgres://weft@{address}/postgres")
}

impl KafkaCluster {
    /// Starts `nodes` brokers. `None` where Kafka is not fetched: the test does not run.
    ///
    /// # Errors
    /// With what a broker said.
    pub fn start(nodes: usize) -> anyhow::Result<Option<Self>> {
        Self::start_some(nodes, nodes)
    }

    /// Starts the first `running` of `nodes` brokers, which have to be a majority. [`Self::restart`] starts the others.
    ///
    /// # Errors
    /// With what a broker said.
    pub fn start_some(running: usize, nodes: usize) -> anyhow::Result<Option<Self>> {
        Self::start_with(&vec![Vec::new(); nodes], running)
    }

    /// Starts one broker that is reached directly, and through the proxy by clients that are told the proxy's address.
    ///
    /// # Errors
    /// With what the broker said, or that no proxy can listen.
    pub fn start_beside_proxy() -> anyhow::Result<Option<(Self, Proxy)>> {
        let (proxy, port) = (Proxy::listen()?, free_port()?);
        proxy.forward_to(&format!("127.0.0.1:{port}"));
        let behind = ("WEFT_BROKER_BEHIND".to_owned(), format!("{port} {}", proxy.address()));
        Ok(Self::start_with(&[vec![behind]], 1)?.map(|kafka| (kafka, proxy)))
    }

    /// Starts one broker that also listens over TLS and asks for [`KAFKA_USER`] by SCRAM-SHA-512 there; the address of that.
    /// `certificates` holds `ca.pem`, `node.pem` and `node.key`, as `weft init --tls` makes them.
    ///
    /// # Errors
    /// With what the broker said.
    pub fn start_secure(certificates: &Path) -> anyhow::Result<Option<(Self, String)>> {
        let port = free_port()?;
        let secure = format!("{port} {KAFKA_USER} {KAFKA_PASSWORD} {}", certificates.display());
        let kafka = Self::start_with(&[vec![("WEFT_BROKER_SECURE".to_owned(), secure)]], 1)?;
        Ok(kafka.map(|kafka| (kafka, format!("127.0.0.1:{port}"))))
    }

    fn start_with(environments: &[Vec<(String, String)>], running: usize) -> anyhow::Result<Option<Self>> {
        if script("kafka", &["where"], &[]).is_err() {
            not_run(Need::Service, "Kafka (tests/services/kafka install)");
            return Ok(None);
        }
        let mut brokers = Vec::new();
        let mut voters = Vec::new();
        for (index, environment) in environments.iter().enumerate() {
            brokers.push(Broker { port: free_port()?, environment: environment.clone(), service: None });
            voters.push(format!("{}@127.0.0.1:{}", index + 1, free_port()?));
        }
        let mut cluster = Self { dir: tempfile::tempdir()?, voters: voters.join(","), brokers };
        // A broker of several answers only when a majority is there: all are started before one is waited for.
        let nodes = cluster.brokers.len();
        std::thread::scope(|scope| {
            let (dir, voters) = (cluster.dir.path().to_owned(), cluster.voters.clone());
            let starting: Vec<_> = cluster
                .brokers
                .iter_mut()
                .take(running)
                .enumerate()
                .map(|(index, broker)| {
                    let (dir, voters) = (dir.clone(), voters.clone());
                    scope.spawn(move || broker.start(&dir, index, &voters))
                })
                .collect();
            starting.into_iter().try_for_each(|start| {
                start.join().unwrap_or_else(|_| Err(anyhow::anyhow!("starting one of {nodes} brokers panicked")))
            })
        })?;
        Ok(Some(cluster))
    }

    /// Addresses of all brokers, without encryption: `host:port,...`.
    #[must_use]
    pub fn addresses(&self) -> String {
        self.brokers.iter().map(|broker| format!("127.0.0.1:{}", broker.port)).collect::<Vec<_>>().join(",")
    }

    /// The folder in which a broker keeps a partition.
    #[must_use]
    pub fn partition_dir(&self, broker: usize, topic: &str, partition: u32) -> PathBuf {
        self.dir.path().join(format!("{broker}/data/{topic}-{partition}"))
    }

    /// Kills a broker with SIGKILL. Brokers are counted from 0.
    pub fn kill(&mut self, broker: usize) {
        if let Some(broker) = self.brokers.get_mut(broker) {
            broker.service = None;
        }
    }

    /// Starts a broker again, on the same data and port.
    ///
    /// # Errors
    /// With what it said.
    pub fn restart(&mut self, broker: usize) -> anyhow::Result<()> {
        let (dir, voters): (PathBuf, &str) = (self.dir.path().to_owned(), &self.voters);
        self.brokers.get_mut(broker).map_or(Ok(()), |b| b.start(&dir, broker, voters))
    }

    /// Stops a broker where it is, as a disk or a machine that hangs.
    pub fn stall(&self, broker: usize) {
        self.signal(broker, "STOP");
    }

    /// Lets it go on.
    pub fn resume(&self, broker: usize) {
        self.signal(broker, "CONT");
    }

    fn signal(&self, broker: usize, signal: &str) {
        if let Some(service) = self.brokers.get(broker).and_then(|b| b.service.as_ref()) {
            service.signal(signal);
        }
    }
}

impl Broker {
    fn start(&mut self, dir: &std::path::Path, index: usize, voters: &str) -> anyhow::Result<()> {
        self.service = None;
        let (data, log) = (dir.join(index.to_string()).display().to_string(), dir.join(format!("{index}.log")));
        let (id, port) = ((index + 1).to_string(), self.port.to_string());
        let arguments = ["broker", &data, &id, &port, voters];
        self.service = Some(Service::start("kafka", &arguments, &self.environment, self.port, &log)?);
        Ok(())
    }
}
