//! An authority of the tests' own, and a certificate of it for this machine.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// One authority for the whole test program: keys cost time.
static TLS: LazyLock<Tls> = LazyLock::new(Tls::generate);

struct Tls {
    authority_pem: String,
    authority: CertificateDer<'static>,
    chain_pem: String,
    key_pem: String,
}

impl Tls {
    fn generate() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "hashserv test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &authority).expect("a certificate");
        Tls {
            authority_pem: authority.pem(),
            authority: authority.der().clone(),
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

/// The file beside a server's certificate with the authority to trust.
pub(crate) const AUTHORITY: &str = "authority.pem";

/// Where a server's certificate was written.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

/// Writes certificate, key and authority into a directory.
pub(crate) fn write_files(directory: &Path) -> Files {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).expect("a certificate file");
        path
    };
    write(AUTHORITY, &TLS.authority_pem);
    Files { chain: write("chain.pem", &TLS.chain_pem), key: write("key.pem", &TLS.key_pem) }
}

/// A client that trusts the tests' authority alone.
pub(crate) fn client_config() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(TLS.authority.clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}
