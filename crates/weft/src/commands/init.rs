//! `weft init`: a commented configuration, the keys, an example feed, and with `--tls` a development authority.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::Args;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use weft_log::Vault;

use crate::{commands::Exit, notary, system::SystemRandom};

/// What `weft init` writes to `weft.toml`.
pub(crate) const CONFIG: &str = include_str!("init.toml");
/// The same for certificates.
const TLS_CONFIG: &str = "
# Certificates for feeds whose registration says tls = \"server\" or \"mutual\". These are for development only.
[tls]
certificate = \"tls/node.pem\"
key = \"tls/node.key\"
client_ca = \"tls/ca.pem\"
";
const EXAMPLE_FEED: &str = include_str!("example-feed.toml");

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Folder to write into; made if it does not exist
    dir: PathBuf,
    /// Name of the log in its checkpoints: best a URL without its scheme [default: weft/ and 16 random digits]
    #[arg(long, value_name = "NAME")]
    log_name: Option<String>,
    /// Also make a development certificate authority, a node certificate and a client certificate
    #[arg(long)]
    tls: bool,
}

impl Options {
    /// No certificates.
    pub(crate) fn plain(dir: PathBuf) -> Self {
        Self { dir, log_name: None, tls: false }
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Exit> {
    let dir = &options.dir;
    let config = dir.join("weft.toml");
    if config.exists() {
        bail!("{} exists already; nothing was changed", config.display());
    }
    fs::create_dir_all(dir.join("feeds")).with_context(|| format!("cannot make {}", dir.display()))?;
    Vault::create(&dir.join("keys"), &SystemRandom).context("cannot make the key vault")?;
    let name = options.log_name.clone().unwrap_or_else(notary::default_name);
    let key = notary::make_key(&dir.join("keys"), &name)?;
    let public = dir.join(notary::PUBLIC_KEY_FILE);
    write_new(&public, &format!("{}\n", key.public()))?;
    let mut text = CONFIG.to_owned();
    if options.tls {
        make_certificates(&dir.join("tls"))?;
        text.push_str(TLS_CONFIG);
    }
    write_new(&dir.join("feeds/example-pas.toml"), EXAMPLE_FEED)?;
    write_new(&config, &text)?;
    crate::talk!("wrote {}", config.display());
    crate::talk!(
        "keys are in {}: keep a copy apart from the data, for without them nothing opens",
        dir.join("keys").display()
    );
    crate::talk!("the log is signed; give this public key ({}) to whoever audits it:", public.display());
    crate::talk!("  {}", key.public());
    crate::talk!("next: weft serve --config {}", config.display());
    Ok(Exit::Done)
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// An authority, a certificate for localhost, and one for a client, each with its key.
fn make_certificates(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.distinguished_name.push(rcgen::DnType::CommonName, "Weft development CA");
    let ca_key = KeyPair::generate()?;
    let ca_certificate = ca.self_signed(&ca_key)?;
    let issuer = Issuer::new(ca, ca_key);
    write_new(&dir.join("ca.pem"), &ca_certificate.pem())?;
    for (name, usage) in
        [("node", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
    {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("Weft development {name}"));
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        write_new(&dir.join(format!("{name}.pem")), &certificate.pem())?;
        write_private(&dir.join(format!("{name}.key")), &key.serialize_pem())?;
    }
    Ok(())
}

/// Readable by its owner only, from the first byte on.
fn write_private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
