//! A certificate that the server makes itself.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

use super::failure::unusable;
use super::pem::read_bounded;
use crate::TransportError;

const CERTIFICATE: &str = "hashserv-cert.pem";
const KEY: &str = "hashserv-key.pem";

/// Makes what is missing; returns the paths of the certificate and its key.
///
/// The key is made first, and the certificate always from the key that is there. Both appear complete and are
/// never replaced, so servers that do this at the same time end with the same pair.
pub(super) fn ensure(directory: &Path, names: &[String]) -> Result<(PathBuf, PathBuf), TransportError> {
    let (certificate, key) = (directory.join(CERTIFICATE), directory.join(KEY));
    if !key.exists() {
        if certificate.exists() {
            let reason =
                format!("its key {} is missing; restore it or remove the certificate", key.display());
            return Err(unusable(&certificate, &reason));
        }
        let made = KeyPair::generate().map_err(|error| unusable(&key, &error))?;
        publish(&key, &made.serialize_pem(), 0o600).map_err(|error| unusable(&key, &error))?;
    }
    if !certificate.exists() {
        let pem = read_bounded(&key)?;
        let pair =
            KeyPair::from_pem(&String::from_utf8_lossy(&pem)).map_err(|error| unusable(&key, &error))?;
        let made = parameters(names).self_signed(&pair).map_err(|error| unusable(&certificate, &error))?;
        publish(&certificate, &made.pem(), 0o644).map_err(|error| unusable(&certificate, &error))?;
    }
    Ok((certificate, key))
}

/// The certificate of a server and of no authority: libraries refuse to take the one for the other.
fn parameters(names: &[String]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, "hashserv");
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let own = ["localhost".to_owned(), host_name(), "127.0.0.1".to_owned(), "::1".to_owned()];
    for name in own.iter().chain(names).filter_map(|name| alternative_name(name)) {
        if !parameters.subject_alt_names.contains(&name) {
            parameters.subject_alt_names.push(name);
        }
    }
    parameters
}

/// What a certificate can hold: no empty names, no addresses that stand for all addresses.
fn alternative_name(name: &str) -> Option<SanType> {
    match name.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => None,
        Ok(ip) => Some(SanType::IpAddress(ip)),
        Err(_) if name.is_empty() => None,
        Err(_) => name.try_into().ok().map(SanType::DnsName),
    }
}

/// The name of this machine; empty where it has none.
fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// Makes a file appear with all its contents, or leaves the one that is there by now.
fn publish(path: &Path, contents: &str, mode: u32) -> io::Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let made = path.with_extension(format!("pem.{}.{count}", std::process::id()));
    // What a process that crashed with our id has left.
    let _ = fs::remove_file(&made);
    let outcome = write(&made, contents, mode).and_then(|()| match fs::hard_link(&made, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // There are file systems without hard links.
        Err(_) => fs::rename(&made, path),
        Ok(()) => Ok(()),
    });
    let _ = fs::remove_file(&made);
    outcome
}

fn write(path: &Path, contents: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}
