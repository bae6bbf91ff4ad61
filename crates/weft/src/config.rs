//! The node's configuration: one typed struct, read once, passed down by value.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde::Deserialize;

/// `weft.toml`. Paths in it are relative to the folder that it lies in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// The log, the read model and the run file.
    pub(crate) data: PathBuf,
    /// The key vault. Apart from the log, so that a copy of the log alone opens nothing.
    pub(crate) keys: PathBuf,
    pub(crate) grpc: Grpc,
    /// Certificates for feeds whose registration asks for TLS.
    pub(crate) tls: Option<Tls>,
    /// The log's brokers. Only together with `postgres`, which keeps the log's inbox and keys; without, the log is embedded.
    pub(crate) kafka: Option<Kafka>,
    /// The read model's database, and with `kafka` that of the inbox and the keys; without, both are files in `data`.
    pub(crate) postgres: Option<Postgres>,
    /// Who the command line asks as, unless its options say otherwise.
    pub(crate) operator: Operator,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Grpc {
    pub(crate) listen: SocketAddr,
    /// Where a process that answers no questions tells how it is.
    #[serde(default = "any_port")]
    pub(crate) health: SocketAddr,
    /// Loopback only unless this is true.
    #[serde(default)]
    pub(crate) allow_remote: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tls {
    /// PEM: this node's certificate chain.
    pub(crate) certificate: PathBuf,
    /// PEM: its private key.
    pub(crate) key: PathBuf,
    /// PEM: the authorities whose client certificates a mutual feed accepts.
    pub(crate) client_ca: Option<PathBuf>,
}

/// Topics `PREFIX.feed`, `PREFIX.identity`, `PREFIX.control` and `PREFIX.access`, made with these settings where they are
/// missing and refused where they differ.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kafka {
    /// Addresses, separated by commas.
    pub(crate) brokers: String,
    #[serde(default = "default_prefix")]
    pub(crate) prefix: String,
    /// Partitions of the stream `feed`, for the life of the log. The other streams have one.
    #[serde(default = "default_feed_partitions")]
    pub(crate) feed_partitions: u32,
    /// Copies of every partition.
    #[serde(default = "default_replication")]
    pub(crate) replication: u16,
    /// Copies that must be in step before an event counts as stored. By default all but one: a broker may be away.
    min_insync_replicas: Option<u16>,
    /// Passed to librdkafka as they are: SASL, TLS and whatever else the brokers ask of their clients.
    #[serde(default)]
    pub(crate) properties: Properties,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Postgres {
    pub(crate) url: Secret,
    /// What the names of its schemas begin with: sites that share a database each have their own.
    #[serde(default = "default_schema")]
    schema: String,
}

/// A text that may hold a password: it is shown to nobody.
#[derive(Clone, Deserialize)]
pub(crate) struct Secret(String);

/// Settings of librdkafka by name. Their values may be passwords: only their names are shown.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Properties(pub(crate) BTreeMap<String, String>);

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Operator {
    pub(crate) user: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) organisation: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) reason: Option<String>,
}

impl Config {
    /// Reads the file; a typo is an error with its line.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("cannot read {}; `weft init DIR` writes one, --config names it", path.display())
        })?;
        let mut config: Self =
            toml::from_str(&text).map_err(|e| anyhow::anyhow!("{}: {}", path.display(), e.to_string().trim_end()))?;
        let base = path.parent().unwrap_or(Path::new("."));
        for path in [&mut config.data, &mut config.keys] {
            *path = base.join(&*path);
        }
        if let Some(tls) = &mut config.tls {
            for path in [Some(&mut tls.certificate), Some(&mut tls.key), tls.client_ca.as_mut()].into_iter().flatten() {
                *path = base.join(&*path);
            }
        }
        if config.keys.starts_with(&config.data) {
            bail!("{}: `keys` lies inside `data`: a copy of the log must not carry its keys", path.display());
        }
        config.check_backends().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    /// Refuses what can only go wrong later.
    fn check_backends(&self) -> anyhow::Result<()> {
        if let Some(Postgres { schema, .. }) = &self.postgres {
            let letter = |c: char| c.is_ascii_lowercase() || c == '_';
            let named = schema.starts_with(letter) && schema.chars().all(|c| letter(c) || c.is_ascii_digit());
            if !named || schema.len() > SCHEMA_LENGTH_MAX {
                bail!(
                    "postgres.schema begins the names of schemas: 1 to {SCHEMA_LENGTH_MAX} lower-case letters, digits and \
                     underscores, no digit first"
                );
            }
        }
        let Some(kafka) = &self.kafka else { return Ok(()) };
        if self.postgres.is_none() {
            bail!(
                "[kafka] needs [postgres]: the inbox that tells repeats across connectors and the keys of the records are \
                 kept there"
            );
        }
        let Kafka { feed_partitions, replication, .. } = *kafka;
        if !(1..=FEED_PARTITIONS_MAX).contains(&feed_partitions) {
            bail!("kafka.feed_partitions is {feed_partitions}: 1 to {FEED_PARTITIONS_MAX} are possible");
        }
        let in_sync = kafka.min_insync_replicas();
        if !(1..=replication).contains(&in_sync) {
            bail!("kafka.min_insync_replicas is {in_sync}: with {replication} copies, 1 to {replication} are possible");
        }
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if kafka.prefix.is_empty() || kafka.prefix.len() > 200 || !kafka.prefix.chars().all(good) {
            bail!("kafka.prefix names topics: 1 to 200 letters, digits, dots, hyphens and underscores");
        }
        Ok(())
    }

    /// Folder of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.data.join("log")
    }

    /// File of the read model.
    pub(crate) fn model_path(&self) -> PathBuf {
        self.data.join("readmodel.db")
    }

    /// File in which a running node says where it listens.
    pub(crate) fn run_file(&self) -> PathBuf {
        self.data.join("node.json")
    }
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Kafka {
    /// Copies that must be in step before an event counts as stored.
    pub(crate) fn min_insync_replicas(&self) -> u16 {
        self.min_insync_replicas.unwrap_or_else(|| self.replication.saturating_sub(1).max(1))
    }
}

impl Postgres {
    /// The schema of the read model.
    pub(crate) fn model_schema(&self) -> String {
        format!("{}_model", self.schema)
    }

    /// The schema of the log's inbox and keys.
    pub(crate) fn log_schema(&self) -> String {
        format!("{}_log", self.schema)
    }
}

impl Secret {
    /// The text itself, for whoever connects with it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

const FEED_PARTITIONS_MAX: u32 = 1024;
/// What is added to it must still be the name of a schema.
const SCHEMA_LENGTH_MAX: usize = 30;

fn default_schema() -> String {
    "weft".to_owned()
}

fn default_prefix() -> String {
    "weft".to_owned()
}

fn default_feed_partitions() -> u32 {
    8
}

fn default_replication() -> u16 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("weft.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|e| format!("{e:#}").replace(&dir.path().display().to_string(), "DIR"))
    }

    fn refuse(text: &str, wanted: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    }

    const GOOD: &str = "data = \"data\"\nkeys = \"keys\"\n[grpc]\nlisten = \"127.0.0.1:0\"\n[operator]\n";

    #[test]
    fn what_init_writes_is_read() {
        assert!(read(crate::commands::init::CONFIG).unwrap().model_path().ends_with("data/readmodel.db"));
    }

    const KAFKA: &str = "[kafka]\nbrokers = \"127.0.0.1:9092\"\n";
    const POSTGRES: &str = "[postgres]\nurl = \"postgres://weft:swordfish@127.0.0.1/weft\"\n";

    #[test]
    fn what_init_writes_is_read_with_its_comments_taken_away() {
        fn uncommented(line: &str) -> Option<&str> {
            line.strip_prefix("# ").filter(|setting| setting.starts_with(['[', '"']) || setting.contains(" = "))
        }
        let (before, backends) = crate::commands::init::CONFIG.split_once("# [kafka]").unwrap();
        let lines: Vec<&str> = backends.lines().filter_map(uncommented).collect();
        let config = read(&format!("{before}[kafka]\n{}\n", lines.join("\n"))).unwrap();
        let kafka = config.kafka.unwrap();
        assert_eq!(
            (kafka.brokers.as_str(), kafka.prefix.as_str(), kafka.feed_partitions),
            ("127.0.0.1:9092", "weft", 8)
        );
        assert_eq!((kafka.replication, kafka.min_insync_replicas()), (3, 2));
        assert!(kafka.properties.0.contains_key("sasl.password"));
        let postgres = config.postgres.unwrap();
        assert!(postgres.url.reveal().starts_with("postgres://"));
        assert_eq!((postgres.model_schema().as_str(), postgres.log_schema().as_str()), ("weft_model", "weft_log"));
    }

    #[test]
    fn kafka_and_postgres_stand_together_or_not_at_all() {
        assert!(read(&format!("{GOOD}{POSTGRES}")).unwrap().kafka.is_none());
        let kafka = read(&format!("{GOOD}{KAFKA}{POSTGRES}")).unwrap().kafka.unwrap();
        assert_eq!((kafka.replication, kafka.min_insync_replicas()), (1, 1));
        refuse(&format!("{GOOD}{KAFKA}"), "DIR/weft.toml: [kafka] needs [postgres]");
        for (wrong, wanted) in [
            ("feed_partitions = 0", "1 to 1024"),
            ("replication = 3\nmin_insync_replicas = 4", "with 3 copies, 1 to 3"),
            ("replication = 0", "kafka.min_insync_replicas"),
            ("prefix = \"a b\"", "kafka.prefix"),
        ] {
            refuse(&format!("{GOOD}{KAFKA}{wrong}\n{POSTGRES}"), wanted);
        }
        for wrong in ["", "1st", "Weft", "we-ft", &"w".repeat(SCHEMA_LENGTH_MAX + 1)] {
            refuse(&format!("{GOOD}{POSTGRES}schema = \"{wrong}\"\n"), "postgres.schema");
        }
    }

    #[test]
    fn no_password_is_shown() {
        let properties = "[kafka.properties]\n\"sasl.password\" = \"swordfish\"\n";
        let config = read(&format!("{GOOD}{KAFKA}{properties}{POSTGRES}")).unwrap();
        let shown = format!("{config:?}");
        assert!(!shown.contains("swordfish"), "{shown}");
        assert!(shown.contains("sasl.password"));
    }

    #[test]
    fn a_typo_is_named_with_its_line() {
        refuse(&GOOD.replace("listen", "lissten"), "line 4");
        refuse(&GOOD.replace("listen", "lissten"), "lissten");
        refuse(&GOOD.replace("127.0.0.1:0", "127.0.0.1"), "line 4");
        refuse(&GOOD.replace("\"keys\"", "\"data/keys\""), "inside `data`");
        refuse("", "missing field `data`");
    }
}
