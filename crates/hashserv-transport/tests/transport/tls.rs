//! Connections over WebSocket with TLS.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashserv_protocol::Address;
use hashserv_transport::{DialOptions, Dialer, ListenOptions, Listener, ServerTls, TransportError};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
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
        let starts: Vec<_> = (0..8).map(|_| scope.spawn(|| self_signed(&directory).fingerprint())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let fingerprint = self_signed(&directory).fingerprint();
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
    let old = tls.fingerprint();

    std::fs::write(&certificate, "nonsense").unwrap();
    assert!(matches!(tls.reload().unwrap_err(), TransportError::Certificate { .. }));
    assert_eq!(tls.fingerprint(), old);

    write_certificate(directory.path(), &parameters("127.0.0.1"));
    tls.reload().unwrap();
    assert_ne!(tls.fingerprint(), old);
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

#[tokio::test]
async fn without_a_certificate_there_is_no_wss() {
    let error =
        Listener::bind(&"wss://127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::NoCertificate { .. }), "{error:?}");
}
