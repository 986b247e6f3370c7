//! The server's side of TLS.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{failure, provider, read_certificates, self_signed, unusable};
use crate::{Peer, TransportError};

/// The certificate that a server shows to clients of `wss://`, and its key.
///
/// It can be [reloaded](ServerTls::reload) while it is in use. Clients that come back resume their sessions, which
/// saves most of the handshake.
pub struct ServerTls {
    certificate: PathBuf,
    key: PathBuf,
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Takes the certificate (with the chain up to the authority, if there is one) and its private key from two
    /// PEM files.
    ///
    /// # Errors
    ///
    /// [`TransportError::Certificate`] if a file cannot be read, or the two do not belong together.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<ServerTls, TransportError> {
        let (certificate, key) = (certificate.into(), key.into());
        let identity = Arc::new(Identity(ArcSwap::new(load(&certificate, &key)?)));
        let config = configure(identity.clone()).map_err(|error| unusable(&certificate, &error))?;
        Ok(ServerTls { certificate, key, identity, config: Arc::new(config) })
    }

    /// A certificate that the server has made and signed itself, as `hashserv-cert.pem` and `hashserv-key.pem` in
    /// `directory`.
    ///
    /// It is made where it is missing, for `names` (host names and IP addresses; those that stand for all
    /// addresses are left out) and `localhost`, the machine's host name and the loopback addresses. After that it
    /// stays as it is, so that clients which were told to trust it go on doing so: to have it made again, remove
    /// both files. Servers that start at once agree on one. The key can be read by the owner of the file only.
    ///
    /// # Errors
    ///
    /// [`TransportError::Certificate`] if the files can be neither read nor written.
    pub fn self_signed(directory: &Path, names: &[String]) -> Result<ServerTls, TransportError> {
        let (certificate, key) = self_signed::ensure(directory, names)?;
        ServerTls::from_files(certificate, key)
    }

    /// Reads the files again. Connections that exist are not affected.
    ///
    /// # Errors
    ///
    /// As [`from_files`](ServerTls::from_files); the certificate in use is kept then.
    pub fn reload(&self) -> Result<(), TransportError> {
        self.identity.0.store(load(&self.certificate, &self.key)?);
        Ok(())
    }

    /// The SHA-256 digest of the certificate in use, as `openssl x509 -fingerprint -sha256` prints it: bytes in
    /// upper case hexadecimal digits, separated by colons.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let identity = self.identity.0.load();
        let digest = Sha256::digest(identity.cert.first().map_or(&[][..], |certificate| certificate));
        digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        peer: &Peer,
    ) -> Result<TlsStream<TcpStream>, TransportError> {
        TlsAcceptor::from(self.config.clone())
            .accept(stream)
            .await
            .map_err(|source| failure::explain(peer, source))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// The certificate of the hour.
struct Identity(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TransportError> {
    let chain = read_certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    CertifiedKey::from_der(chain, secret, &provider()).map(Arc::new).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            unusable(key, &format!("the key does not belong to the certificate {}", certificate.display()))
        }
        error => unusable(key, &error),
    })
}

fn configure(identity: Arc<Identity>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
