//! The server's side of TLS.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::failure::{self, unusable};
use super::pem::{read_certificates, read_key};
use super::provider::provider;
#[cfg(feature = "self-signed")]
use super::self_signed;
use crate::{CertificateInfo, Peer, TransportError};

/// The certificate that a server shows to clients of `wss://`, and its key.
///
/// It can be [reloaded](ServerTls::reload) while it is in use, or [refreshed](ServerTls::refresh) when its files are
/// others than those in use. Clients that come back resume their sessions, which
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
    /// [`TransportError::Certificate`] if a file cannot be read or used, [`TransportError::KeyMismatch`] if the two do
    /// not belong together.
    pub fn from_files(
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<ServerTls, TransportError> {
        let (certificate, key) = (certificate.into(), key.into());
        let identity = Arc::new(Identity(ArcSwap::from_pointee(load(&certificate, &key)?)));
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
    #[cfg(feature = "self-signed")]
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
        self.identity.0.store(Arc::new(load(&self.certificate, &self.key)?));
        Ok(())
    }

    /// Reads the files again where they are others than those in use, or were written since. Symbolic links are
    /// followed. Returns whether the certificate was read.
    ///
    /// # Errors
    ///
    /// As [`from_files`](ServerTls::from_files); the certificate in use is kept then, and the next call tries again.
    pub fn refresh(&self) -> Result<bool, TransportError> {
        let found = Files::at(&self.certificate, &self.key).ok();
        if found.is_some() && found == self.identity.0.load().files {
            return Ok(false);
        }
        self.reload().map(|()| true)
    }

    /// The certificate in use.
    #[must_use]
    pub fn certificate(&self) -> CertificateInfo {
        self.identity.0.load().info.clone()
    }

    /// The file of the certificate.
    #[must_use]
    pub fn certificate_file(&self) -> &Path {
        &self.certificate
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
struct Identity(ArcSwap<Loaded>);

/// Contents of the files when they were read.
struct Loaded {
    key: Arc<CertifiedKey>,
    info: CertificateInfo,
    /// `None` where they vanished meanwhile.
    files: Option<Files>,
}

/// The files that a certificate and its key were read from.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Files {
    certificate: FileIdentity,
    key: FileIdentity,
}

/// A state of a file: another one has another identity, whether it was replaced or written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    fn at(certificate: &Path, key: &Path) -> io::Result<Self> {
        Ok(Files { certificate: FileIdentity::at(certificate)?, key: FileIdentity::at(key)? })
    }
}

impl FileIdentity {
    /// Follows symbolic links, as reading does.
    fn at(path: &Path) -> io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(FileIdentity {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().key.clone())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Loaded, TransportError> {
    // Looked at first: what is written while it is read counts as new at the next look.
    let files = Files::at(certificate, key).ok();
    let chain = read_certificates(certificate)?;
    let own = chain.first().map_or(&[][..], |own| own);
    let info = CertificateInfo::of(own, fingerprint(own)).map_err(|reason| unusable(certificate, &reason))?;
    let secret = read_key(key)?;
    let key = CertifiedKey::from_der(chain, secret, &provider())
        .map_err(|error| explain(&error, key, certificate))?;
    Ok(Loaded { key: Arc::new(key), info, files })
}

fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// Says why a key cannot be used with a certificate.
fn explain(error: &rustls::Error, key: &Path, certificate: &Path) -> TransportError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TransportError::KeyMismatch { key: key.to_owned(), certificate: certificate.to_owned() }
        }
        error => {
            let reason =
                format!("the key cannot be used: {error}; make one of the kind RSA, ECDSA or Ed25519");
            unusable(key, &reason)
        }
    }
}

fn configure(identity: Arc<Identity>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(identity);
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
