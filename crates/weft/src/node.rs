//! A whole node: every role in one process, started and ended in order.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, bail};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use weft_connect::{Connector, ConnectorOptions, TlsOptions};
use weft_log::{EmbeddedLog, OpenOptions, SharedLog, Vault};
use weft_model::Stream;
use weft_readmodel::{ProjectOptions, ReadModel, Repeats};

use crate::{
    commands::reach::Ready,
    config::Config,
    feed_control::NodeFeeds,
    linker::Linker,
    system::{self, SystemClock, SystemRandom},
};

/// A running node.
pub(crate) struct Node {
    pub(crate) log: SharedLog,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) ready: Ready,
    connector: Connector,
    /// One past the last message that the linker has decided on.
    linked: watch::Receiver<u64>,
    roles: Vec<JoinHandle<()>>,
    shutdown: CancellationToken,
    failed: CancellationToken,
    run_file: std::path::PathBuf,
}

/// Opens the vault and, with it, the log for writing.
pub(crate) async fn open_log(config: &Config) -> anyhow::Result<EmbeddedLog> {
    let vault = open_vault(config)?;
    EmbeddedLog::open(OpenOptions::new(config.log_dir(), vault))
        .await
        .with_context(|| format!("cannot open the log in {}", config.log_dir().display()))
}

/// Opens the vault.
pub(crate) fn open_vault(config: &Config) -> anyhow::Result<Arc<Vault>> {
    let vault = Vault::open(&config.keys, Arc::new(SystemRandom));
    Ok(Arc::new(vault.with_context(|| format!("cannot open the key vault in {}", config.keys.display()))?))
}

impl Node {
    /// Starts every role: listening comes first, for senders wait; what derives from the log catches up behind them.
    pub(crate) async fn start(config: &Config) -> anyhow::Result<Self> {
        let mut node = Self::connect(config).await?;
        node.start_roles(config).await?;
        write_run_file(&node.run_file, &node.ready)?;
        Ok(node)
    }

    /// Starts receiving alone: what arrives is stored and acknowledged, and nothing is made of it.
    pub(crate) async fn connect(config: &Config) -> anyhow::Result<Self> {
        let log: SharedLog = Arc::new(open_log(config).await?);
        let model = ReadModel::open(&config.model_path())
            .await
            .with_context(|| format!("cannot open the read model {}", config.model_path().display()))?;
        let model = Arc::new(model);
        let tls = config.tls.as_ref().map(read_tls).transpose()?;
        let mut options = ConnectorOptions::new(log.clone(), Arc::new(SystemClock));
        options.tls = tls;
        let connector = Connector::start(options);
        connector.caught_up().await.context("cannot follow the registered feeds")?;
        let mut node = Self {
            ready: Ready { ready: true, grpc: String::new(), mllp: BTreeMap::new() },
            log,
            model,
            connector,
            linked: watch::channel(0).1,
            roles: Vec::new(),
            shutdown: CancellationToken::new(),
            failed: CancellationToken::new(),
            run_file: config.run_file(),
        };
        node.ready.mllp = node.mllp_addresses();
        Ok(node)
    }

    /// Where each feed listens now.
    pub(crate) fn mllp_addresses(&self) -> BTreeMap<String, String> {
        let statuses = self.connector.status().borrow().clone();
        statuses.into_iter().filter_map(|(feed, status)| Some((feed, status.address?.to_string()))).collect()
    }

    /// Resolves when a role has failed: a node without it must not go on as if nothing were.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    /// Waits until everything in the log is linked and projected.
    pub(crate) async fn caught_up(&self) -> anyhow::Result<()> {
        tokio::select! {
            () = self.failed() => bail!("a role of the node failed"),
            reached = self.reach_end() => reached,
        }
    }

    async fn reach_end(&self) -> anyhow::Result<()> {
        let feed = self.log.size(Stream::Feed.partition(0)).await?;
        self.visible(feed).await
    }

    /// Waits until the first `messages` messages are linked, and they and their links projected.
    pub(crate) async fn visible(&self, messages: u64) -> anyhow::Result<()> {
        let _ = self.linked.clone().wait_for(|linked| *linked >= messages).await;
        let identity = self.log.size(Stream::Identity.partition(0)).await?;
        let mut changes = self.model.changes();
        loop {
            changes.borrow_and_update();
            let known = self.model.known_at();
            let size = |stream: Stream| known.0.get(&stream.partition(0)).copied().unwrap_or(0);
            if size(Stream::Feed) >= messages && size(Stream::Identity) >= identity {
                return Ok(());
            }
            changes.changed().await.context("the read model has ended")?;
        }
    }

    /// Ends in order: no more messages, then the roles behind them, then the log.
    pub(crate) async fn stop(self) {
        self.connector.shutdown().await;
        self.shutdown.cancel();
        for role in self.roles {
            let _ = role.await;
        }
        self.log.close().await;
        let _ = std::fs::remove_file(&self.run_file);
        info!("node ended");
    }

    async fn start_roles(&mut self, config: &Config) -> anyhow::Result<()> {
        let grpc = TcpListener::bind(config.grpc.listen)
            .await
            .with_context(|| format!("cannot listen on {} (grpc.listen)", config.grpc.listen))?;
        self.ready.grpc = grpc.local_addr()?.to_string();
        let (place, linked) = watch::channel(0);
        self.linked = linked;
        let feeds = Arc::new(NodeFeeds::new(self.connector.status()));
        let (log, model, shutdown) = (self.log.clone(), self.model.clone(), self.shutdown.clone());
        self.role("project", async move {
            let options = ProjectOptions { repeats: Repeats::Never, owner: system::process_name() };
            Ok(weft_readmodel::project(log, model, options, shutdown).await?)
        });
        let (log, model, shutdown) = (self.log.clone(), self.model.clone(), self.shutdown.clone());
        self.role("link", async move {
            let linker = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                linker = Linker::load(log, model, Arc::new(SystemClock), place) => linker?,
            };
            linker.run(shutdown).await
        });
        let notary = crate::notary::open(config, &self.log).await?;
        notary.check().await.context("the notary cannot go on from this log")?;
        let shutdown = self.shutdown.clone();
        self.role("notary", async move { Ok(notary.run(shutdown.cancelled_owned()).await?) });
        let options = weft_api::ServeOptions {
            listener: grpc,
            allow_remote: config.grpc.allow_remote,
            log: self.log.clone(),
            model: self.model.clone(),
            feeds,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            shutdown: self.shutdown.clone(),
        };
        self.role("api", async move { Ok(weft_api::serve(options).await?) });
        Ok(())
    }

    fn role(&mut self, name: &'static str, run: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let failed = self.failed.clone();
        self.roles.push(tokio::spawn(async move {
            if let Err(reason) = run.await {
                error!(role = name, reason = format!("{reason:#}"), "role failed");
                failed.cancel();
            }
        }));
    }
}

fn read_tls(tls: &crate::config::Tls) -> anyhow::Result<TlsOptions> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let client_authority = tls.client_ca.as_deref().map(read).transpose()?;
    let options = TlsOptions::from_pem(&read(&tls.certificate)?, &read(&tls.key)?, client_authority.as_deref());
    options.context("the certificates of [tls] cannot be used")
}

/// Written beside and renamed, so that a reader never sees half of it.
fn write_run_file(path: &Path, ready: &Ready) -> anyhow::Result<()> {
    let beside = path.with_extension("json.new");
    std::fs::write(&beside, serde_json::to_vec(ready)?)
        .with_context(|| format!("cannot write {}", beside.display()))?;
    std::fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}
