//! TLS failures in words that help.

use std::fmt::Display;
use std::io;
use std::path::Path;

use rustls::{AlertDescription, CertificateError, Error};

use crate::{Peer, TransportError};

/// Options of the programs, for messages that tell to trust an authority.
pub(super) const TRUST_OPTIONS: &str = "--tls-ca of hashclient, --upstream-ca of hashserv";

/// Returns the error for a file that cannot be used.
pub(super) fn unusable(path: &Path, reason: &dyn Display) -> TransportError {
    TransportError::Certificate { path: path.to_owned(), reason: reason.to_string() }
}

/// Says what a failed handshake means and what can be done.
pub(super) fn explain(peer: &Peer, source: io::Error) -> TransportError {
    let reason = match source.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(Error::InvalidCertificate(error)) => of_certificate(error),
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS; should it be ws:// instead of wss://, or HOST:PORT for raw TCP?".into()
        }
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        _ if source.kind() == io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        _ if source.kind() == io::ErrorKind::InvalidInput => "the host is no name of a server".into(),
        _ => "the handshake did not come to its end".into(),
    };
    TransportError::Tls { peer: peer.clone(), reason, source }
}

/// The same for a server that was dialled, which may be of another transport.
pub(super) fn explain_server(peer: &Peer, source: io::Error) -> TransportError {
    if source.kind() == io::ErrorKind::UnexpectedEof {
        let reason =
            "it closed the connection; does it speak TLS, or should the address be HOST:PORT for raw TCP?";
        return TransportError::Tls { peer: peer.clone(), reason: reason.to_owned(), source };
    }
    explain(peer, source)
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!(
                "its certificate comes from an authority that is not trusted here; name the authority's \
                 certificate (or the server's own, if it signed it itself) as one to trust ({TRUST_OPTIONS})"
            )
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let presented = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("its certificate is for {presented} and not for {}", expected.to_str())
        }
        CertificateError::NotValidForName => "its certificate is for another name".into(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or the clock of this machine is wrong)".into()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (or the clock of this machine is wrong)".into()
        }
        CertificateError::Other(_) => {
            "its certificate cannot be used for a server; one that a server signs itself must not be that of an \
             authority (make it with basicConstraints CA:FALSE)"
                .into()
        }
        _ => "its certificate is not valid".into(),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        // The certificate in its list has the same name and another key.
        | AlertDescription::DecryptError => "it does not trust our certificate".into(),
        _ => "it refused the handshake".into(),
    }
}
