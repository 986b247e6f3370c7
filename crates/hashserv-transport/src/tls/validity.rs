//! The time in which a certificate is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

/// The longest time before the end of a certificate that counts as soon.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The part of a certificate's time that counts as soon, where that is shorter: some are made for a day.
const SOON_PART: u32 = 10;

/// Says that the TLS library takes no certificates without extensions.
const OLD_VERSION: &str = "its first certificate is one of X.509 version 1, and TLS needs version 3: make it again \
    with extensions (openssl x509 -req … -extfile FILE, where FILE has a line subjectAltName=DNS:HOST; or openssl \
    req -x509 … -addext subjectAltName=DNS:HOST -addext basicConstraints=CA:FALSE)";

/// A certificate that a server uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// The SHA-256 digest, as `openssl x509 -fingerprint -sha256` prints it: bytes in upper case hexadecimal
    /// digits, separated by colons.
    pub fingerprint: String,
    /// The first instant at which it is valid.
    pub valid_from: SystemTime,
    /// The last one.
    pub valid_until: SystemTime,
}

/// Relation of a certificate's time to the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Clients refuse it for now.
    NotYet,
    /// Clients accept it.
    Valid,
    /// Clients will refuse it before long.
    EndsSoon,
    /// Clients refuse it.
    Expired,
}

impl CertificateInfo {
    /// Reads a certificate whose digest is known.
    pub(super) fn of(der: &[u8], fingerprint: String) -> Result<Self, String> {
        let (_, certificate) = X509Certificate::from_der(der)
            .map_err(|error| format!("its first certificate cannot be parsed: {error}"))?;
        if certificate.version() == X509Version::V1 {
            return Err(OLD_VERSION.to_owned());
        }
        let validity = certificate.validity();
        Ok(CertificateInfo {
            fingerprint,
            valid_from: instant(validity.not_before),
            valid_until: instant(validity.not_after),
        })
    }

    /// Compares the certificate's time with `now`.
    #[must_use]
    pub fn validity(&self, now: SystemTime) -> Validity {
        let whole = self.valid_until.duration_since(self.valid_from).unwrap_or_default();
        let soon = SOON.min(whole / SOON_PART);
        match self.valid_until.duration_since(now) {
            Err(_) => Validity::Expired,
            Ok(_) if now < self.valid_from => Validity::NotYet,
            Ok(left) if left < soon => Validity::EndsSoon,
            Ok(_) => Validity::Valid,
        }
    }
}

fn instant(time: ASN1Time) -> SystemTime {
    let seconds = time.timestamp();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let instant =
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) };
    instant.unwrap_or(UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn the_end_is_soon_in_proportion_to_the_whole_time() {
        let of = |days: u32| CertificateInfo {
            fingerprint: String::new(),
            valid_from: UNIX_EPOCH,
            valid_until: UNIX_EPOCH + DAY * days,
        };
        for (certificate, passed, validity) in [
            (of(365), DAY * 350, Validity::Valid),
            (of(365), DAY * 352, Validity::EndsSoon),
            (of(365), DAY * 366, Validity::Expired),
            (of(90), DAY * 80, Validity::Valid),
            (of(90), DAY * 82, Validity::EndsSoon),
            (of(1), DAY / 2, Validity::Valid),
            (of(1), DAY * 23 / 24, Validity::EndsSoon),
        ] {
            assert_eq!(certificate.validity(UNIX_EPOCH + passed), validity, "{passed:?}");
        }
        assert_eq!(of(1).validity(UNIX_EPOCH - DAY), Validity::NotYet);
    }
}
