//! Connections over WebSocket with TLS.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use hashserv_protocol::Address;
use hashserv_transport::{DialOptions, Dialer, ListenOptions, Listener, ServerTls, TransportError, Validity};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

use crate::support::{connect_to, echo_a_long_batch, echo_both_ways, port};

fn self_signed(directory: &TempDir) -> ServerTls {
    ServerTls::self_signed(directory.path(), &[]).unwrap()
}

fn certificate_in(directory: &TempDir) -> PathBuf {
    directory.path().join("hashserv-cert.pem")
}

async fn listen(tls: ServerTls) -> (Listener, Arc<ServerTls>) {
    let tls = Arc::new(tls);
    let options = ListenOptions { tls: Some(tls.clone()), ..ListenOptions::default() };
    (Listener::bind(&"wss://127.0.0.1:0/ws".parse().unwrap(), &options).await.unwrap(), tls)
}

fn trusting(ca: impl Into<PathBuf>) -> Dialer {
    Dialer::new(DialOptions { tls_ca: Some(ca.into()), ..DialOptions::default() })
}

/// Dials `listener`, which must fail, and returns what each side says.
async fn refused(listener: &mut Listener, dialer: &Dialer) -> (TransportError, TransportError) {
    let address = listener.local_address().clone();
    let server = async { listener.accept().await.establish().await };
    let (client, server) = tokio::join!(dialer.dial(&address), server);
    (client.unwrap_err(), server.unwrap_err())
}

fn is_tls(error: &TransportError, about: &str) -> bool {
    matches!(error, TransportError::Tls { .. }) && error.to_string().contains(about)
}

/// Writes a certificate with these parameters and its key.
fn write_certificate(directory: &Path, parameters: &CertificateParams) -> (PathBuf, PathBuf) {
    let key = KeyPair::generate().unwrap();
    let paths = (directory.join("cert.pem"), directory.join("key.pem"));
    std::fs::write(&paths.0, parameters.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&paths.1, key.serialize_pem()).unwrap();
    paths
}

fn parameters(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).unwrap()
}

#[tokio::test]
async fn a_certificate_of_our_own_is_trusted_where_it_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, _tls) = listen(self_signed(&directory)).await;
    let dialer = trusting(certificate_in(&directory));
    let (client, server) = connect_to(&mut listener, &dialer).await;
    let long = vec![b'x'; 1024 * 1024];
    echo_both_ways(client, server, &[b"a line", &long]).await;
    let (client, server) = connect_to(&mut listener, &dialer).await;
    echo_a_long_batch(client, server).await;
}

#[tokio::test]
async fn a_certificate_of_our_own_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let racing: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> =
            (0..8).map(|_| scope.spawn(|| self_signed(&directory).certificate().fingerprint)).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let fingerprint = self_signed(&directory).certificate().fingerprint;
    assert!(racing.iter().all(|other| *other == fingerprint), "{racing:?}");
    assert_eq!(fingerprint.len(), 32 * 3 - 1);
    let key = directory.path().join("hashserv-key.pem");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2, "nothing else is left behind");
    std::fs::remove_file(key).unwrap();
    let error = ServerTls::self_signed(directory.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("hashserv-key.pem is missing"), "{error}");
}

#[tokio::test]
async fn a_certificate_from_elsewhere_is_not_trusted() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut listener, _tls) = listen(self_signed(&ours)).await;
    self_signed(&theirs);
    let (client, server) = refused(&mut listener, &trusting(certificate_in(&theirs))).await;
    assert!(is_tls(&client, "--tls-ca"), "{client:?}");
    assert!(is_tls(&server, "does not trust our certificate"), "{server:?}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = write_certificate(directory.path(), &parameters("other.example"));
    let (mut listener, _tls) = listen(ServerTls::from_files(&certificate, key).unwrap()).await;
    let (client, _) = refused(&mut listener, &trusting(certificate)).await;
    assert!(is_tls(&client, "\"other.example\"") && is_tls(&client, "not for 127.0.0.1"), "{client}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut parameters = parameters("127.0.0.1");
    parameters.not_after = date_time_ymd(2020, 1, 1);
    let (certificate, key) = write_certificate(directory.path(), &parameters);
    let (mut listener, _tls) = listen(ServerTls::from_files(&certificate, key).unwrap()).await;
    let (client, _) = refused(&mut listener, &trusting(certificate)).await;
    assert!(is_tls(&client, "expired"), "{client}");
}

#[tokio::test]
async fn the_certificate_of_an_authority_is_no_servers() {
    let directory = tempfile::tempdir().unwrap();
    let mut parameters = parameters("127.0.0.1");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (certificate, key) = write_certificate(directory.path(), &parameters);
    let (mut listener, _tls) = listen(ServerTls::from_files(&certificate, key).unwrap()).await;
    let (client, _) = refused(&mut listener, &trusting(certificate)).await;
    assert!(is_tls(&client, "CA:FALSE"), "{client}");
}

#[tokio::test]
async fn a_peer_without_tls_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut listener, _tls) = listen(self_signed(&directory)).await;
    let mut peer = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let error = listener.accept().await.establish().await.unwrap_err();
    assert!(is_tls(&error, "does not speak TLS"), "{error:?}");

    let mut plain = crate::support::listen(&"ws://127.0.0.1:0".parse().unwrap()).await;
    let address: Address = format!("wss://127.0.0.1:{}", port(&plain)).parse().unwrap();
    let dialer = trusting(certificate_in(&directory));
    let server = async { plain.accept().await.establish().await };
    let (client, _) = tokio::join!(dialer.dial(&address), server);
    let error = client.unwrap_err();
    assert!(is_tls(&error, "ws:// instead of wss://"), "{error:?}");
}

#[tokio::test]
async fn a_new_certificate_is_taken_while_running_unless_it_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = write_certificate(directory.path(), &parameters("127.0.0.1"));
    let (mut listener, tls) = listen(ServerTls::from_files(&certificate, &key).unwrap()).await;
    let old_dialer = trusting(&certificate);
    let existing = connect_to(&mut listener, &old_dialer).await;
    let old = tls.certificate().fingerprint;

    std::fs::write(&certificate, "nonsense").unwrap();
    assert!(matches!(tls.reload().unwrap_err(), TransportError::Certificate { .. }));
    assert_eq!(tls.certificate().fingerprint, old);

    write_certificate(directory.path(), &parameters("127.0.0.1"));
    tls.reload().unwrap();
    assert_ne!(tls.certificate().fingerprint, old);
    let (client, server) = connect_to(&mut listener, &trusting(&certificate)).await;
    echo_both_ways(client, server, &[b"new"]).await;
    echo_both_ways(existing.0, existing.1, &[b"old"]).await;
}

#[tokio::test]
async fn unusable_files_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, _) = write_certificate(directory.path(), &parameters("a"));
    let other = tempfile::tempdir().unwrap();
    let (_, key) = write_certificate(other.path(), &parameters("a"));
    let error = ServerTls::from_files(&certificate, key).unwrap_err().to_string();
    assert!(error.contains("key.pem: the key does not belong to the certificate"), "{error}");
    let error = ServerTls::from_files(&certificate, &certificate).unwrap_err().to_string();
    assert!(error.contains("cert.pem: "), "{error}");
    let (listener, _tls) = listen(self_signed(&directory)).await;
    let error = trusting("/missing/ca.pem").dial(listener.local_address()).await.unwrap_err().to_string();
    assert!(error.starts_with("/missing/ca.pem: "), "{error}");
}

/// Writes a certificate and its key, changes both and returns why they cannot be used.
fn refusal(change: impl FnOnce(&Path, &Path)) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = write_certificate(directory.path(), &parameters("a"));
    change(&certificate, &key);
    ServerTls::from_files(&certificate, &key).unwrap_err().to_string()
}

fn prefix(path: &Path, prefix: &[u8]) {
    std::fs::write(path, [prefix, &std::fs::read(path).unwrap()].concat()).unwrap();
}

/// The first part of a PEM file in binary form.
fn to_der(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let der = match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => key.secret_der().to_vec(),
        Err(_) => CertificateDer::from_pem_slice(text.as_bytes()).unwrap().to_vec(),
    };
    std::fs::write(path, der).unwrap();
}

#[test]
fn damaged_key_is_never_quoted() {
    let pem = |key: &Path| std::fs::read_to_string(key).unwrap();
    let damages: [fn(&str) -> String; 5] = [
        |pem| pem.replace('\n', ""),
        |pem| pem.replace('\n', " "),
        |pem| pem.replacen("-----\n", "-----", 1),
        |pem| pem[..pem.len() - 40].to_owned(),
        |pem| pem.replacen("\nM", "\n*M", 1),
    ];
    for damage in damages {
        let directory = tempfile::tempdir().unwrap();
        let (cert, key) = write_certificate(directory.path(), &parameters("a"));
        let whole = pem(&key);
        let secret: String = whole.lines().nth(1).unwrap().chars().take(8).collect();
        std::fs::write(&key, damage(&whole)).unwrap();
        let error = ServerTls::from_files(&cert, &key).unwrap_err().to_string();
        assert!(error.contains("key.pem: ") && !error.contains(&secret), "{error}");
        // Nor as numbers.
        let numbers = format!("{:?}", &secret.as_bytes()[..4]);
        assert!(!error.contains(numbers.trim_matches(['[', ']'])), "{error}");
    }
}

#[test]
fn unusable_files_are_explained_with_what_to_do() {
    const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
    type Change = fn(&Path, &Path);
    let changes: [(Change, &str, &str); 18] = [
        (
            |_, key| relabel(key, "ENCRYPTED PRIVATE KEY"),
            "key.pem: the private key is encrypted",
            "openssl pkey -in",
        ),
        (
            |_, key| {
                let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n\
                           AAAA\n-----END RSA PRIVATE KEY-----\n";
                std::fs::write(key, old).unwrap();
            },
            "key.pem: the private key is encrypted",
            "openssl pkey -in",
        ),
        (|_, key| to_der(key), "key.pem: it is a DER file", "openssl pkey -inform DER -in"),
        (|cert, _| to_der(cert), "cert.pem: it is a DER file", "openssl x509 -inform DER -in"),
        (
            |cert, _| std::fs::write(cert, b"\x30\x82\x09\x51\x02\x01\x03\x30\x82").unwrap(),
            "cert.pem: it is a PKCS #12 file",
            "openssl pkcs12 -in",
        ),
        (|_, key| prefix(key, BYTE_ORDER_MARK), "key.pem: it begins with a byte order mark", "save it as"),
        (|cert, _| prefix(cert, BYTE_ORDER_MARK), "cert.pem: it begins with a byte order mark", "save it as"),
        (|cert, _| prefix(cert, b"\xFF\xFE"), "cert.pem: it is UTF-16 with a byte order mark", "save it as"),
        (
            |cert, key| std::fs::write(key, std::fs::read(cert).unwrap()).unwrap(),
            "key.pem: there is no private key in it, but a certificate",
            "swapped",
        ),
        (
            |cert, key| std::fs::write(cert, std::fs::read(key).unwrap()).unwrap(),
            "cert.pem: there is no certificate in it, but a private key",
            "swapped",
        ),
        (
            |cert, _| relabel(cert, "NEW CERTIFICATE REQUEST"),
            "cert.pem: there is no certificate in it, but a part NEW CERTIFICATE REQUEST",
            "name the file",
        ),
        (|_, key| std::fs::write(key, "").unwrap(), "key.pem: it is empty", ""),
        (
            |cert, _| std::fs::write(cert, "hello").unwrap(),
            "cert.pem: it is no PEM file",
            "BEGIN CERTIFICATE",
        ),
        (
            |cert, _| {
                let text = std::fs::read_to_string(cert).unwrap();
                std::fs::write(cert, &text[..text.len() / 2]).unwrap();
            },
            "cert.pem: it is damaged",
            "copy it again",
        ),
        (
            |cert, _| std::fs::write(cert, VERSION_1).unwrap(),
            "cert.pem: its first certificate is one of X.509 version 1",
            "-extfile FILE",
        ),
        (
            |cert, _| replace_by_pipe(cert),
            "cert.pem: it is a pipe, a socket or a device",
            "name a regular file",
        ),
        (
            |_, key| {
                std::fs::remove_file(key).unwrap();
                std::os::unix::fs::symlink("/dev/null", key).unwrap();
            },
            "key.pem: it is a pipe, a socket or a device",
            "name a regular file",
        ),
        (
            |cert, _| std::fs::File::create(cert).unwrap().set_len(16 * 1024 * 1024 + 1).unwrap(),
            "cert.pem: it is larger than 16 MiB",
            "",
        ),
    ];
    for (change, problem, advice) in changes {
        let refusal = refusal(change);
        assert!(refusal.contains(problem) && refusal.contains(advice), "{problem}: {refusal}");
        assert!(!refusal.contains('\n'), "{refusal}");
    }
}

/// A certificate that OpenSSL made without extensions.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBJDCBywIUJxzU/3WhqGDCk0qYVZPUvufFFvcwCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyODE5MDYyM1oYDzIxMjYxMTA0MTkwNjIz
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AATCo8c6n9+6gnactWtmayooZFlXAlLGuK4qzluul3dR18jsusNiJONcSl1fZktx
8wslmrN8RCIe1B1kQr5quQHSMAoGCCqGSM49BAMCA0gAMEUCIDfWIVt8t/cfq52C
r9iLhiYUckK1ziBsIOmMyrHtvCkFAiEA14JSfghPRQPmOY+r0ZQog4WJNzTiy8dN
pyre0OCBfX0=
-----END CERTIFICATE-----
";

fn replace_by_pipe(path: &Path) {
    std::fs::remove_file(path).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Gives the parts of a PEM file another name.
fn relabel(path: &Path, label: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    let name = text.lines().next().unwrap().trim_matches('-').trim_start_matches("BEGIN ").to_owned();
    std::fs::write(path, text.replace(&name, label)).unwrap();
}

#[test]
fn a_mark_before_a_chain_does_not_hide_its_first_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = write_certificate(directory.path(), &parameters("a"));
    let chain = std::fs::read(&certificate).unwrap();
    std::fs::write(&certificate, ["\u{feff}".as_bytes(), &chain, &chain].concat()).unwrap();
    let refusal = ServerTls::from_files(&certificate, &key).unwrap_err().to_string();
    assert!(refusal.contains("byte order mark"), "{refusal}");
}

#[test]
fn a_certificate_out_of_its_time_is_known_as_such() {
    let directory = tempfile::tempdir().unwrap();
    for (from, until, validity) in [
        ((2000, 1, 1), (2001, 1, 1), Validity::Expired),
        ((3000, 1, 1), (3001, 1, 1), Validity::NotYet),
        ((2000, 1, 1), (3000, 1, 1), Validity::Valid),
    ] {
        let mut parameters = parameters("a");
        parameters.not_before = date_time_ymd(from.0, from.1, from.2);
        parameters.not_after = date_time_ymd(until.0, until.1, until.2);
        let (certificate, key) = write_certificate(directory.path(), &parameters);
        let tls = ServerTls::from_files(certificate, key).unwrap();
        assert_eq!(tls.certificate().validity(SystemTime::now()), validity);
    }
}

#[test]
fn files_are_read_again_only_when_they_changed() {
    let directory = tempfile::tempdir().unwrap();
    let (certificate, key) = write_certificate(directory.path(), &parameters("a"));
    let tls = ServerTls::from_files(&certificate, &key).unwrap();
    assert!(!tls.refresh().unwrap());
    let first = tls.certificate();
    write_certificate(directory.path(), &parameters("a"));
    assert!(tls.refresh().unwrap());
    assert_ne!(tls.certificate(), first);
    assert!(!tls.refresh().unwrap());
    std::fs::remove_file(&key).unwrap();
    for _ in 0..2 {
        assert!(matches!(tls.refresh().unwrap_err(), TransportError::Certificate { .. }));
    }
}

#[tokio::test]
async fn without_a_certificate_there_is_no_wss() {
    let error =
        Listener::bind(&"wss://127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::NoCertificate { .. }), "{error:?}");
}
