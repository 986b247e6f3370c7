//! PEM files, and words for files that are none.

use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::failure::unusable;
use crate::TransportError;

/// Bytes of the largest file that is read. The authorities of a whole system take a quarter of a MiB.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// Bytes of the longest label that is quoted, such as `NEW CERTIFICATE REQUEST`.
const MAX_LABEL: usize = 32;

/// Begins each part of a PEM file, before the name of what follows.
const BEGIN: &str = "-----BEGIN ";

/// First byte of a DER file, which is a sequence.
const DER_SEQUENCE: u8 = 0x30;

/// The contents that a file is read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Certificate,
    Key,
}

/// Reads the certificates in a PEM file, one at least.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let contents = read(path, Wanted::Certificate)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&contents)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, &damaged(&error)))?;
    if certificates.is_empty() {
        return Err(unusable(path, &missing(Wanted::Certificate, &contents)));
    }
    Ok(certificates)
}

/// Reads the first private key in a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TransportError> {
    let contents = read(path, Wanted::Key)?;
    PrivateKeyDer::from_pem_slice(&contents).map_err(|error| match error {
        _ if is_encrypted(&contents) => unusable(
            path,
            &format!(
                "the private key is encrypted, and there is nobody to ask for its password; decrypt it: \
                 openssl pkey -in {} -out NEW_FILE, and protect the new file by its permissions",
                path.display()
            ),
        ),
        Error::NoItemsFound => unusable(path, &missing(Wanted::Key, &contents)),
        error => unusable(path, &damaged(&error)),
    })
}

/// Reads a file that may be PEM.
fn read(path: &Path, wanted: Wanted) -> Result<Vec<u8>, TransportError> {
    let contents = read_bounded(path)?;
    // What precedes the first BEGIN in its line would make a parser skip the first part without a word.
    match encoding_problem(&contents).or_else(|| binary_problem(path, wanted, &contents)) {
        Some(problem) => Err(unusable(path, &problem)),
        None => Ok(contents),
    }
}

/// Reads a regular file up to a limit. A pipe would be waited for without end, and a device never ends.
pub(super) fn read_bounded(path: &Path) -> Result<Vec<u8>, TransportError> {
    let failed = |error: std::io::Error| unusable(path, &error);
    let found = std::fs::metadata(path).map_err(failed)?;
    if found.is_dir() {
        return Err(unusable(path, &"it is a directory; name a file"));
    }
    if !found.is_file() {
        return Err(unusable(path, &"it is a pipe, a socket or a device; name a regular file"));
    }
    let mut contents = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_FILE + 1).read_to_end(&mut contents).map_err(failed)?;
    if contents.len() as u64 > MAX_FILE {
        return Err(unusable(path, &"it is larger than 16 MiB, so it is no file of certificates or keys"));
    }
    Ok(contents)
}

fn encoding_problem(contents: &[u8]) -> Option<String> {
    let problem = match contents {
        [0xEF, 0xBB, 0xBF, ..] => "it begins with a byte order mark; save it as UTF-8 without one",
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            "it is UTF-16 with a byte order mark; save it as ASCII or as UTF-8 without one"
        }
        _ => return None,
    };
    Some(problem.to_owned())
}

/// Recognises DER and PKCS #12, which hold in binary form what PEM holds as text.
fn binary_problem(path: &Path, wanted: Wanted, contents: &[u8]) -> Option<String> {
    let inner = der_contents(contents)?;
    let file = path.display();
    // A PKCS #12 file begins with its version, which is 3.
    let problem = match (inner, wanted) {
        ([0x02, 0x01, 0x03, ..], _) => format!(
            "it is a PKCS #12 file, and PEM is needed; take both out of it: openssl pkcs12 -in {file} -nokeys \
             -out CERTIFICATE_FILE, and openssl pkcs12 -in {file} -nocerts -nodes -out KEY_FILE"
        ),
        (_, Wanted::Certificate) => format!(
            "it is a DER file, and PEM is needed; convert it: openssl x509 -inform DER -in {file} -out NEW_FILE"
        ),
        (_, Wanted::Key) => format!(
            "it is a DER file, and PEM is needed; convert it: openssl pkey -inform DER -in {file} -out NEW_FILE"
        ),
    };
    Some(problem)
}

/// Returns the contents of the sequence that a DER file consists of.
fn der_contents(contents: &[u8]) -> Option<&[u8]> {
    let [DER_SEQUENCE, length, rest @ ..] = contents else { return None };
    match length {
        // A long form, in which so many bytes hold the length. Text has no such bytes.
        0x81..=0x84 => rest.get(usize::from(length & 0x7F)..),
        _ => None,
    }
}

fn is_encrypted(contents: &[u8]) -> bool {
    let text = String::from_utf8_lossy(contents);
    text.lines().any(|line| {
        line.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY")
            || line.starts_with("Proc-Type:") && line.contains("ENCRYPTED")
    })
}

/// Says in which way the file is damaged. The library's own texts quote the file, which may be a private key.
fn damaged(error: &Error) -> String {
    let problem = match error {
        Error::MissingSectionEnd { .. } | Error::IllegalSectionStart { .. } => {
            "a line -----BEGIN …----- or -----END …----- is missing or not a line of its own"
        }
        Error::Base64Decode(_) => "what stands between BEGIN and END is no base64",
        Error::SectionTooLarge => "it is too large",
        _ => "it cannot be read as PEM",
    };
    format!("it is damaged: {problem}; copy it again, whole and with its line ends")
}

/// Says that the file holds other things than `wanted`.
fn missing(wanted: Wanted, contents: &[u8]) -> String {
    let text = String::from_utf8_lossy(contents);
    let found: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix(BEGIN)?.strip_suffix("-----"))
        // A whole file in one line would be quoted with its secret.
        .filter(|label| label.len() <= MAX_LABEL && !label.contains('-'))
        .collect();
    let (name, begin) = match wanted {
        Wanted::Certificate => ("certificate", "-----BEGIN CERTIFICATE-----"),
        Wanted::Key => ("private key", "-----BEGIN PRIVATE KEY-----"),
    };
    let is_swapped = |label: &&str| match wanted {
        Wanted::Certificate => label.contains("PRIVATE KEY"),
        Wanted::Key => label.contains("CERTIFICATE"),
    };
    match found.iter().find(|label| is_swapped(label)).or(found.first()) {
        Some(label) if is_swapped(label) => format!(
            "there is no {name} in it, but a {}; name the file of the {name} (are the two swapped?)",
            label.to_lowercase()
        ),
        Some(label) => format!("there is no {name} in it, but a part {label}; name the file of the {name}"),
        None if contents.is_empty() => "it is empty".to_owned(),
        None => format!("it is no PEM file; it needs a line {begin}"),
    }
}
