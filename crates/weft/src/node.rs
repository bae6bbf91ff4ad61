//! A node: the roles of one process, started and ended in order.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use weft_connect::{Connector, ConnectorOptions, FeedStatuses, TlsOptions};
use weft_log::{Reachable, SharedLog};
use weft_model::{Cut, Stream};
use weft_readmodel::{Listening, ProjectOptions, ReadModel};

use crate::{
    commands::reach::Ready,
    config::Config,
    feed_control::NodeFeeds,
    health, lead,
    link_models::NodeModels,
    linker, listening,
    roles::{Role, Roles},
    stores::{self, Watched},
    system::{self, SystemClock, SystemRandom},
};

/// How long ending takes at most. Whoever supervises the process kills it after thirty seconds (`deploy/systemd`).
const ENDS_WITHIN: Duration = Duration::from_secs(17);
/// How much of it the roles behind the connector are given: a second more than the API gives its callers.
const ROLES_END_WITHIN: Duration = Duration::from_secs(6);

/// A running node.
pub(crate) struct Node {
    pub(crate) log: SharedLog,
    reachable: Arc<dyn Reachable>,
    pub(crate) model: Arc<ReadModel>,
    pub(crate) ready: Ready,
    /// A name that no other process has.
    name: String,
    /// Where this process listens for messages.
    connector: Option<Connector>,
    /// How many messages the linker has decided on, all partitions together.
    linked: watch::Receiver<u64>,
    health: watch::Sender<weft_api::Health>,
    /// By what they do.
    tasks: Vec<(&'static str, JoinHandle<()>)>,
    shutdown: CancellationToken,
    failed: CancellationToken,
    /// Where this process says that it answers; absent where it does not.
    run_file: Option<PathBuf>,
}

impl Node {
    /// Starts these roles: listening comes first, for senders wait; what derives from the log catches up behind it.
    pub(crate) async fn start(config: &Config, roles: &Roles) -> anyhow::Result<Self> {
        let mut node = Self::open(config, roles).await?;
        // A log that was put back to an earlier state is not to be worked on: looking takes a few reads.
        if roles.has(Role::Notary) {
            node.notarise(config).await?;
        }
        if roles.has(Role::Connect) {
            node.connect(config).await?;
        }
        if roles.has(Role::Project) {
            node.project(config);
        }
        if roles.has(Role::Link) {
            node.link();
        }
        if roles.has(Role::Api) {
            node.answer(config).await?;
        } else {
            node.tell_health(config).await?;
        }
        node.watch_health(roles);
        if let Some(run_file) = &node.run_file {
            write_run_file(run_file, &node.ready)?;
        }
        Ok(node)
    }

    /// Opens what every role stands on.
    async fn open(config: &Config, roles: &Roles) -> anyhow::Result<Self> {
        // Also where log and read model lie elsewhere: the run file and the notary's cache are kept there.
        std::fs::create_dir_all(&config.data).with_context(|| format!("cannot make {}", config.data.display()))?;
        let Watched { log, reachable } = stores::open_watched_log(config).await?;
        let model = stores::open_model(config).await?;
        Ok(Self {
            ready: Ready {
                ready: true,
                roles: roles.to_vec(),
                grpc: String::new(),
                health: String::new(),
                mllp: BTreeMap::new(),
            },
            log,
            reachable,
            model: Arc::new(model),
            name: system::process_name(),
            connector: None,
            linked: watch::channel(0).1,
            health: watch::Sender::new(health::opened(stands_on_model(roles))),
            tasks: Vec::new(),
            shutdown: CancellationToken::new(),
            failed: CancellationToken::new(),
            run_file: roles.has(Role::Api).then(|| config.run_file()),
        })
    }

    /// Where each feed listens now.
    pub(crate) fn mllp_addresses(&self) -> BTreeMap<String, String> {
        let statuses = self.statuses().borrow().clone();
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
        let messages = self.messages().await?;
        self.visible(&messages).await
    }

    /// How many messages the log has in each partition.
    pub(crate) async fn messages(&self) -> anyhow::Result<Cut> {
        let mut messages = Cut::default();
        for partition in self.log.partitions().into_iter().filter(|partition| partition.stream == Stream::Feed) {
            messages.0.insert(partition, self.log.size(partition).await?);
        }
        Ok(messages)
    }

    /// Waits until as many messages are linked, and these and their links projected.
    pub(crate) async fn visible(&self, messages: &Cut) -> anyhow::Result<()> {
        let all: u64 = messages.0.values().sum();
        let _ = self.linked.clone().wait_for(|linked| *linked >= all).await;
        let identity = Stream::Identity.partition(0);
        let mut wanted = messages.clone();
        wanted.0.insert(identity, self.log.size(identity).await?);
        let mut changes = self.model.changes();
        loop {
            changes.borrow_and_update();
            if reaches(&self.model.known_at(), &wanted) {
                return Ok(());
            }
            changes.changed().await.context("the read model has ended")?;
        }
    }

    /// Ends in order: no more messages, then the roles behind them, then the log. Within [`ENDS_WITHIN`], whatever hangs: what
    /// is left under way then is as after a kill, and nobody was told that it was done.
    pub(crate) async fn stop(self) {
        let end = Instant::now() + ENDS_WITHIN;
        let mut in_order = true;
        if let Some(connector) = self.connector {
            in_order &= ended_by(end, "connector", connector.shutdown()).await;
        }
        self.shutdown.cancel();
        let roles_end = end.min(Instant::now() + ROLES_END_WITHIN);
        for (name, task) in self.tasks {
            in_order &= ended_by(roles_end, name, task).await;
        }
        in_order &= ended_by(end, "log", self.log.close()).await;
        if let Some(run_file) = self.run_file {
            let _ = std::fs::remove_file(run_file);
        }
        info!(in_order, "node ended");
    }

    /// Listens for the feeds: what arrives is stored and acknowledged.
    async fn connect(&mut self, config: &Config) -> anyhow::Result<()> {
        let mut options = ConnectorOptions::new(self.log.clone(), Arc::new(SystemClock));
        options.tls = config.tls.as_ref().map(read_tls).transpose()?;
        let connector = Connector::start(options);
        connector.caught_up().await.context("cannot follow the registered feeds")?;
        let (model, name, shutdown) = (self.model.clone(), self.name.clone(), self.shutdown.clone());
        let telling = listening::tell(model, name, connector.status(), shutdown);
        self.tasks.push(("listeners told", tokio::spawn(telling)));
        self.connector = Some(connector);
        self.ready.mllp = self.mllp_addresses();
        Ok(())
    }

    fn project(&mut self, config: &Config) {
        let (log, model, shutdown) = (self.log.clone(), self.model.clone(), self.shutdown.clone());
        let options = ProjectOptions { repeats: stores::repeats(config), owner: self.name.clone() };
        self.role("project", async move { Ok(weft_readmodel::project(log, model, options, shutdown).await?) });
    }

    fn link(&mut self) {
        let (place, linked) = watch::channel(0);
        self.linked = linked;
        let (log, model, shutdown) = (self.log.clone(), self.model.clone(), self.shutdown.clone());
        let work = move |stop| linker::run(log.clone(), model.clone(), place.clone(), stop);
        self.role("link", lead::leading(self.model.clone(), "link", shutdown, work));
    }

    /// The log is looked at before anything is told of it; each time that this process comes to lead, again.
    async fn notarise(&mut self, config: &Config) -> anyhow::Result<()> {
        const UNFIT: &str = "the notary cannot go on from this log";
        crate::notary::open(config, &self.log).await?.check().await.context(UNFIT)?;
        let (log, config) = (self.log.clone(), config.clone());
        let work = move |stop: CancellationToken| {
            let (log, config) = (log.clone(), config.clone());
            async move {
                let notary = crate::notary::open(&config, &log).await?;
                notary.check().await.context(UNFIT)?;
                Ok(notary.run(stop.cancelled_owned()).await?)
            }
        };
        self.role("notary", lead::leading(self.model.clone(), "notary", self.shutdown.clone(), work));
        Ok(())
    }

    async fn answer(&mut self, config: &Config) -> anyhow::Result<()> {
        let listener = TcpListener::bind(config.grpc.listen)
            .await
            .with_context(|| format!("cannot listen on {} (grpc.listen)", config.grpc.listen))?;
        self.ready.grpc = listener.local_addr()?.to_string();
        self.ready.health.clone_from(&self.ready.grpc);
        let options = weft_api::ServeOptions {
            listener,
            allow_remote: config.grpc.allow_remote,
            log: self.log.clone(),
            model: self.model.clone(),
            feeds: Arc::new(NodeFeeds::new(self.statuses(), self.heard())),
            link_models: Arc::new(NodeModels::new().context("the model that ships")?),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
            health: self.health.subscribe(),
            shutdown: self.shutdown.clone(),
        };
        self.role("api", async move { Ok(weft_api::serve(options).await?) });
        Ok(())
    }

    /// A process that answers no questions still tells how it is.
    async fn tell_health(&mut self, config: &Config) -> anyhow::Result<()> {
        let listener = TcpListener::bind(config.grpc.health)
            .await
            .with_context(|| format!("cannot listen on {} (grpc.health)", config.grpc.health))?;
        self.ready.health = listener.local_addr()?.to_string();
        let options = weft_api::HealthOptions {
            listener,
            allow_remote: config.grpc.allow_remote,
            health: self.health.subscribe(),
            shutdown: self.shutdown.clone(),
        };
        self.role("health", async move { Ok(weft_api::serve_health(options).await?) });
        Ok(())
    }

    fn watch_health(&mut self, roles: &Roles) {
        let model = stands_on_model(roles).then(|| self.model.clone());
        let watching = health::watch(self.reachable.clone(), model, self.health.clone(), self.shutdown.clone());
        self.tasks.push(("health watched", tokio::spawn(watching)));
    }

    /// What the listeners of other processes are doing; nothing where there are no others.
    fn heard(&mut self) -> watch::Receiver<Vec<Listening>> {
        let (told, heard) = watch::channel(Vec::new());
        let hearing = listening::hear(self.model.clone(), self.name.clone(), told, self.shutdown.clone());
        self.tasks.push(("listeners heard", tokio::spawn(hearing)));
        heard
    }

    /// What this process's listeners are doing; nothing where it has none.
    fn statuses(&self) -> watch::Receiver<FeedStatuses> {
        self.connector.as_ref().map_or_else(|| watch::channel(FeedStatuses::new()).1, Connector::status)
    }

    fn role(&mut self, name: &'static str, run: impl Future<Output = anyhow::Result<()>> + Send + 'static) {
        let failed = self.failed.clone();
        let role = async move {
            if let Err(reason) = run.await {
                error!(role = name, reason = format!("{reason:#}"), "role failed");
                failed.cancel();
            }
        };
        self.tasks.push((name, tokio::spawn(role)));
    }
}

/// True where `part` has ended by then; where it has not, it is left as it is.
async fn ended_by(end: Instant, part: &'static str, ending: impl Future) -> bool {
    let ended = timeout_at(end, ending).await.is_ok();
    if !ended {
        warn!(part, "not waited for any longer");
    }
    ended
}

/// Whether `cut` holds of every partition as much as `wanted`.
pub(crate) fn reaches(cut: &Cut, wanted: &Cut) -> bool {
    wanted.0.iter().all(|(partition, size)| cut.size(*partition) >= *size)
}

/// Receiving alone goes on while the read model is away.
fn stands_on_model(roles: &Roles) -> bool {
    [Role::Link, Role::Project, Role::Api].into_iter().any(|role| roles.has(role))
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
