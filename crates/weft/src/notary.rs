//! The notary's key and files, by configuration.
//!
//! ```text
//!  keys/notary.key     signs cuts; readable by its owner only
//!  keys/notary.pub     checks them; `weft init` also writes it beside weft.toml, for whoever audits
//!  keys/checkpoint     the newest checkpoint that was signed: apart from the log, and never restored with it
//!  data/merkle         inner nodes of the trees: a cache
//! ```

use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, bail};
use weft_log::{LogEvidence, Notary, PublicKey, Remembered, SharedLog, SigningKey, cut};
use weft_model::Random;

use crate::{
    config::Config,
    system::{SystemClock, SystemRandom},
};

/// The public key beside the configuration.
pub(crate) const PUBLIC_KEY_FILE: &str = "notary.pub";

/// The notary of the configured log. A log that has no cuts yet is given a key, for it is from before there were any.
pub(crate) async fn open(config: &Config, log: &SharedLog) -> anyhow::Result<Notary> {
    let key = match read_key(&config.keys)? {
        Some(key) => key,
        None if cut::newest(&LogEvidence(log.clone())).await?.is_none() => {
            let key = make_key(&config.keys, &default_name())?;
            tracing::info!(public_key = %key.public(), "made the notary's key: give its public key to whoever audits");
            key
        }
        None => bail!(
            "{} is missing, and the log has cuts that it signed: restore it from its backup",
            key_path(&config.keys).display()
        ),
    };
    let log = log.clone();
    Ok(Notary { log, key, clock: Arc::new(SystemClock), nodes: nodes(config), remembered: remembered(config) })
}

/// Makes the key in the folder of the keys.
pub(crate) fn make_key(keys: &Path, name: &str) -> anyhow::Result<SigningKey> {
    let key = SigningKey::generate(name, &SystemRandom).with_context(|| format!("`{name}` cannot name a log"))?;
    let path = key_path(keys);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let written = file.write_all(format!("{}\n", key.to_secret_text()).as_bytes()).and_then(|()| file.sync_all());
    written.with_context(|| format!("cannot write {}", path.display()))?;
    let public = keys.join(PUBLIC_KEY_FILE);
    fs::write(&public, format!("{}\n", key.public())).with_context(|| format!("cannot write {}", public.display()))?;
    Ok(key)
}

/// A name that no other log has.
pub(crate) fn default_name() -> String {
    let mut bytes = [0; 8];
    SystemRandom.fill(&mut bytes);
    format!("weft/{:016x}", u64::from_be_bytes(bytes))
}

/// The key that checks cuts: as given (a file, or the key itself), else beside the configuration, else among the keys.
pub(crate) fn public_key(
    given: Option<&str>,
    config_file: &Path,
    config: Option<&Config>,
) -> anyhow::Result<PublicKey> {
    if let Some(given) = given {
        let text = if Path::new(given).exists() { read(Path::new(given))? } else { given.to_owned() };
        return text.parse().with_context(|| format!("`{given}` is neither a file with a public key nor one itself"));
    }
    let beside = config_file.with_file_name(PUBLIC_KEY_FILE);
    let among = config.map(|config| config.keys.join(PUBLIC_KEY_FILE));
    let Some(path) = [Some(beside), among].into_iter().flatten().find(|path| path.exists()) else {
        bail!("there is no notary.pub beside the configuration or among the keys: name the public key with --key");
    };
    read(&path)?.parse().with_context(|| format!("{} does not hold a public key", path.display()))
}

/// Where inner nodes are kept.
pub(crate) fn nodes(config: &Config) -> PathBuf {
    config.data.join("merkle")
}

/// Where the newest checkpoint is remembered.
pub(crate) fn remembered(config: &Config) -> Remembered {
    Remembered::new(config.keys.join("checkpoint"))
}

fn read_key(keys: &Path) -> anyhow::Result<Option<SigningKey>> {
    let path = key_path(keys);
    let mode = match fs::metadata(&path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if mode & 0o077 != 0 {
        bail!("{} is readable by others (mode {mode:03o}): chmod 600 it", path.display());
    }
    let key = read(&path)?.parse().with_context(|| format!("{} does not hold a signing key", path.display()))?;
    Ok(Some(key))
}

fn key_path(keys: &Path) -> PathBuf {
    keys.join("notary.key")
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
