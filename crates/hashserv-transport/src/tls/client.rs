//! The client's side of TLS.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::failure::{self, TRUST_OPTIONS, unusable};
use super::pem::read_certificates;
use super::provider::provider;
use crate::{Peer, TransportError};

/// Whom we trust; read when it is first needed.
#[derive(Debug)]
pub(crate) struct ClientTls {
    ca: Option<PathBuf>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Trusts the authorities in the file `ca` alone, or those of the system.
    pub(crate) fn new(ca: Option<PathBuf>) -> Self {
        ClientTls { ca, config: OnceCell::new() }
    }

    /// Makes sure that the server is `name`.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        name: &str,
        peer: &Peer,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        let failed = |source| failure::explain_server(peer, source);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|error| failed(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let config = self.config.get_or_try_init(|| self.load()).await?;
        TlsConnector::from(config.clone()).connect(name, stream).await.map_err(failed)
    }

    /// The system may have hundreds of certificates, so they are read where that keeps nobody waiting.
    async fn load(&self) -> Result<Arc<ClientConfig>, TransportError> {
        let ca = self.ca.clone();
        let config = tokio::task::spawn_blocking(move || match ca {
            Some(ca) => roots_of_file(&ca).and_then(|roots| configure(roots, &ca)),
            None => roots_of_system().and_then(|roots| configure(roots, Path::new(SYSTEM))),
        });
        config.await.map_err(|error| unusable(Path::new(SYSTEM), &error))?
    }
}

/// Stands for a path in messages.
const SYSTEM: &str = "the system's certificates";

/// Makes sure that the file has certificates of authorities to trust (PEM), before anything is dialled.
///
/// # Errors
///
/// [`TransportError::Certificate`] if it cannot be read, or what is in it is no certificate.
pub fn check_authorities(path: &Path) -> Result<(), TransportError> {
    roots_of_file(path).map(drop)
}

fn roots_of_file(path: &Path) -> Result<RootCertStore, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    Ok(roots)
}

fn roots_of_system() -> Result<RootCertStore, TransportError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Some systems carry old certificates that cannot be parsed; nobody is to be locked out by them.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let cause = found.errors.first().map_or_else(|| "there are none".to_owned(), ToString::to_string);
        let reason =
            format!("{cause}; install ca-certificates or name an authority to trust ({TRUST_OPTIONS})");
        return Err(unusable(Path::new(SYSTEM), &reason));
    }
    Ok(roots)
}

fn configure(roots: RootCertStore, source: &Path) -> Result<Arc<ClientConfig>, TransportError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(source, &error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
