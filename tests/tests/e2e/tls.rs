//! Certificates.

use hashserv_tests::{Backend, Launch, Signal, TestServer, Transport, eventually, hashclient};

/// Where a server keeps the certificate that it made, in its directory for that.
const SELF_SIGNED: &str = "hashserv-cert.pem";

/// A server that has to make its own certificate, which it keeps in its own directory.
async fn self_signed() -> TestServer {
    // Any but wss, for which the tests bring a certificate.
    let launch = Launch::new(Backend::all()[0], Transport::Ws);
    launch.args(["--bind", "wss://127.0.0.1:0", "--tls-dir", "."]).start().await
}

/// Whether the client program, which trusts that certificate, is served.
async fn is_served(server: &TestServer, certificate: &str) -> bool {
    let mut client = hashclient(server);
    let child = client.env("HASHSERVER_TLS_CA", certificate).arg("stats").spawn().expect("a running client");
    child.wait_with_output().await.expect("the end").status.success()
}

fn fingerprint(server: &TestServer) -> String {
    let log = server.log();
    let line = log.lines().find(|line| line.starts_with("Certificate fingerprint (SHA-256): "));
    line.unwrap_or_else(|| panic!("no fingerprint: {log}")).to_owned()
}

#[tokio::test]
async fn a_server_makes_its_own_certificate_and_keeps_it() {
    let mut server = self_signed().await;
    let first = fingerprint(&server);
    assert!(is_served(&server, SELF_SIGNED).await);
    server.stop().await;
    server.start_again().await;
    assert_eq!(fingerprint(&server), first);
    assert!(is_served(&server, SELF_SIGNED).await);
}

#[tokio::test]
async fn a_certificate_is_read_again_on_a_signal() {
    let (server, other) = (self_signed().await, self_signed().await);
    let launch = Launch::new(Backend::all()[0], Transport::Wss).args(["--log", "INFO"]);
    let mut connected = launch.start().await;
    let mut client = connected.connect().await;
    client.ping().await;
    for (ours, theirs) in [("chain.pem", SELF_SIGNED), ("key.pem", "hashserv-key.pem")] {
        std::fs::copy(other.directory().join(theirs), connected.directory().join(ours)).expect("a copy");
    }
    let certificate = other.directory().join(SELF_SIGNED).display().to_string();
    assert!(!is_served(&connected, &certificate).await, "not read yet");
    connected.signal(Signal::HUP);
    eventually("the new certificate is used", async || {
        is_served(&connected, &certificate).await.then_some(())
    })
    .await;
    let in_use = fingerprint(&other).replace("Certificate fingerprint (SHA-256): ", "fingerprint=\"");
    eventually("what is in use is logged", async || {
        let log = connected.log();
        log.lines().any(|line| line.contains(&in_use) && line.contains("valid_until=4096-")).then_some(())
    })
    .await;
    client.ping().await;
    std::fs::write(connected.directory().join("chain.pem"), "no certificate").expect("a file");
    connected.signal(Signal::HUP);
    eventually("the failure is logged", async || connected.log().contains("is kept").then_some(())).await;
    assert!(is_served(&connected, &certificate).await, "the one in use is kept");
    assert!(!is_served(&server, &certificate).await, "another server's");
    assert_eq!(connected.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_told_at_the_start() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let (certificate, key) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
    let pair = rcgen::KeyPair::generate().expect("a key");
    let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    parameters.not_after = rcgen::date_time_ymd(2020, 2, 3);
    std::fs::write(&certificate, parameters.self_signed(&pair).expect("a certificate").pem())
        .expect("a file");
    std::fs::write(&key, pair.serialize_pem()).expect("a file");
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let arguments = ["--bind", "wss://127.0.0.1:0", "--tls-cert", &certificate, "--tls-key", &key];
    let server = Launch::new(Backend::Sqlite, Transport::Ws).args(arguments).start().await;
    eventually("the end is told", async || {
        let log = server.log();
        let is_told = |line: &str| line.contains("has expired") && line.contains("2020-02-03T00:00:00");
        log.lines().any(is_told).then_some(())
    })
    .await;
}
