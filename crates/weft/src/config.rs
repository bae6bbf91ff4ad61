//! The node's configuration: one typed struct, read once, passed down by value.

use std::{
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
        Ok(config)
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

    #[test]
    fn a_typo_is_named_with_its_line() {
        refuse(&GOOD.replace("listen", "lissten"), "line 4");
        refuse(&GOOD.replace("listen", "lissten"), "lissten");
        refuse(&GOOD.replace("127.0.0.1:0", "127.0.0.1"), "line 4");
        refuse(&GOOD.replace("\"keys\"", "\"data/keys\""), "inside `data`");
        refuse("", "missing field `data`");
    }
}
