//! Certificates and keys, read once at the start: what listeners offer and what senders check.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::WebPkiClientVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use weft_translate::Tls;

/// What a node's listeners need for feeds with `tls = "server"` or `"mutual"`.
#[derive(Clone)]
pub struct TlsOptions {
    server: Arc<ServerConfig>,
    mutual: Option<Arc<ServerConfig>>,
}

/// What a sender needs: whom it trusts, and who it is.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

/// Why certificates or keys cannot be used: mend the file and start again.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing of the wanted kind in it. Says nothing of the content.
    #[error("{0} holds no readable PEM section of its kind")]
    Unreadable(&'static str),
    /// The parts do not fit each other, or use what is not supported.
    #[error("certificate and key cannot be used together")]
    Unusable(#[from] rustls::Error),
    /// The authority cannot verify anyone.
    #[error("client authority cannot be used")]
    Authority(#[from] rustls::server::VerifierBuilderError),
    /// Neither a host name nor an IP address.
    #[error("server name is neither a host name nor an address")]
    ServerName(#[from] rustls_pki_types::InvalidDnsNameError),
}

impl TlsOptions {
    /// Reads the node's certificate chain, its key, and for mutual TLS the authorities whose senders may connect; all PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(certificate: &[u8], key: &[u8], client_authority: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates("certificate", certificate)?;
        let key = private_key("key", key)?;
        let mutual = match client_authority {
            Some(authority) => {
                let roots = Arc::new(roots("client authority", authority)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
                let config = ServerConfig::builder_with_provider(provider())
                    .with_safe_default_protocol_versions()?
                    .with_client_cert_verifier(verifier)
                    .with_single_cert(chain.clone(), key.clone_key())?;
                Some(Arc::new(config))
            }
            None => None,
        };
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self { server: Arc::new(server), mutual })
    }

    fn acceptor(&self, tls: Tls) -> Option<TlsAcceptor> {
        match tls {
            Tls::Off => None,
            Tls::Server => Some(TlsAcceptor::from(Arc::clone(&self.server))),
            Tls::Mutual => self.mutual.clone().map(TlsAcceptor::from),
        }
    }
}

/// The acceptor for a feed, `None` for one in the clear.
///
/// # Errors
/// What the node's configuration lacks, as a text for the operator.
pub(crate) fn acceptor(options: Option<&TlsOptions>, wanted: Tls) -> Result<Option<TlsAcceptor>, &'static str> {
    match (wanted, options) {
        (Tls::Off, _) => Ok(None),
        (_, None) => Err("feed wants TLS, and this node has no certificate"),
        (_, Some(options)) => match options.acceptor(wanted) {
            None => Err("feed wants mutual TLS, and this node has no client authority"),
            acceptor => Ok(acceptor),
        },
    }
}

impl ClientTls {
    /// Reads the authorities that may vouch for the server named `server_name` (host name or address), and the sender's
    /// own certificate chain and key where the server asks for them; all PEM.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn from_pem(authority: &[u8], identity: Option<(&[u8], &[u8])>, server_name: &str) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots("authority", authority)?);
        let config = match identity {
            Some((certificate, key)) => {
                builder.with_client_auth_cert(certificates("certificate", certificate)?, private_key("key", key)?)?
            }
            None => builder.with_no_client_auth(),
        };
        let server_name = ServerName::try_from(server_name.to_owned())?;
        Ok(Self { config: Arc::new(config), server_name })
    }

    pub(crate) fn connector(&self) -> (TlsConnector, ServerName<'static>) {
        (TlsConnector::from(Arc::clone(&self.config)), self.server_name.clone())
    }
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").field("mutual", &self.mutual.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The reader's own error may quote a line of the file: it is left behind.
fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(TlsError::Unreadable(what))
}

fn private_key(what: &'static str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Unreadable(what))
}

fn roots(what: &'static str, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, pem)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}
