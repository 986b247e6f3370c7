//! What a server does at its bounds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

#[path = "../upstream/log.rs"]
mod log;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_protocol::Hello;
use hashserv_server::{Limits, Server};
use hashserv_service::{Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, TaskKey, UnifiedRow, Unihash};
use hashserv_storage_sql::{Options, open};
use hashserv_transport::{ListenOptions, Listener};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::log::Log;

/// Long before anybody would stop waiting for a test.
const SHORT: Duration = Duration::from_millis(100);

/// A server with two sockets.
struct Running {
    directory: TempDir,
    service: Arc<Service>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Running {
    async fn start(limits: Limits, upstream: Option<Arc<dyn Upstream>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let name = directory.path().join("hashserv.db").to_str().unwrap().parse().unwrap();
        let storage = open(&name, &Options::default()).await.unwrap();
        let service = Arc::new(Service::new(storage, upstream, &ServiceOptions::default()));
        let mut listeners = Vec::new();
        for name in ["one", "other"] {
            let address = format!("unix://{}", directory.path().join(name).display()).parse().unwrap();
            listeners.push(Listener::bind(&address, &ListenOptions::default()).await.unwrap());
        }
        let stop = CancellationToken::new();
        let server = Server::new(service.clone(), limits);
        let running = tokio::spawn(server.run(listeners, stop.clone()));
        Running { directory, service, stop, running }
    }

    fn socket(&self, name: &str) -> impl AsRef<Path> {
        self.directory.path().join(name)
    }

    /// A client that has said the handshake.
    async fn client(&self) -> BufReader<UnixStream> {
        let mut client = UnixStream::connect(self.socket("one")).await.unwrap();
        client.write_all(Hello::default().encode().as_bytes()).await.unwrap();
        BufReader::new(client)
    }
}

async fn ask(client: &mut BufReader<UnixStream>, request: &str) -> String {
    client.write_all(format!("{request}\n").as_bytes()).await.unwrap();
    let mut reply = String::new();
    client.read_line(&mut reply).await.unwrap();
    reply
}

#[tokio::test]
async fn who_does_not_say_the_handshake_is_turned_away() {
    let server = Running::start(Limits { handshake: SHORT, ..Limits::default() }, None).await;
    let mut silent = UnixStream::connect(server.socket("one")).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_does_not_read_its_replies_is_cut_off() {
    const SIGINFO: usize = 4 * 1024 * 1024;
    let server = Running::start(Limits { stalled_write: SHORT, ..Limits::default() }, None).await;
    let mut client = server.client().await;
    let piece = "x".repeat(30_000);
    let hash = "0".repeat(64);
    let mut report = format!("{{\"chunk-stream\": null}}\n{{\"report\": {{\"outhash_siginfo\": \"{piece}\n");
    for _ in 1..SIGINFO / piece.len() {
        report.push_str(&format!("{piece}\n"));
    }
    report.push_str(&format!(
        "\", \"method\": \"m\", \"taskhash\": \"t\", \"outhash\": \"o\", \"unihash\": \"{hash}\"}}}}\n"
    ));
    assert!(ask(&mut client, &report).await.contains(&hash));
    let get = "{\"get\": {\"method\": \"m\", \"taskhash\": \"t\", \"all\": true}}\n";
    client.write_all(get.as_bytes()).await.unwrap();
    while client.get_mut().write_all(b"\n").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut row = Vec::new();
    // What the server did not read of us resets the connection.
    let _ = client.read_to_end(&mut row).await;
    assert!(row.len() < SIGINFO, "{} bytes", row.len());
}

#[tokio::test]
async fn a_listener_to_which_nobody_comes_holds_no_place() {
    let server = Running::start(Limits { connections: 1, ..Limits::default() }, None).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut server.client().await, "{\"ping\": {}}").await, "{\"alive\":true}\n");
    }
}

#[tokio::test]
async fn a_full_server_does_not_warn_for_every_client() {
    const PING: &str = "{\"ping\": {}}";
    let log = Log::capture();
    let server = Running::start(Limits { connections: 1, ..Limits::default() }, None).await;
    assert!(log.lines(Level::WARN).is_empty());
    let mut served = server.client().await;
    for _ in 0..3 {
        let mut next = server.client().await;
        for _ in 0..10 {
            ask(&mut served, PING).await;
        }
        let mut waiting = [0];
        next.get_mut().write_all(PING.as_bytes()).await.unwrap();
        assert!(next.get_mut().try_read(&mut waiting).is_err(), "there is no place for it");
        drop(served);
        assert_eq!(ask(&mut next, "").await, "{\"alive\":true}\n");
        served = next;
    }
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].starts_with("1 clients are connected"), "{warnings:?}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_given_up_when_the_server_stops() {
    let upstream = Arc::new(Silent::default());
    let limits = Limits { shutdown: SHORT, ..Limits::default() };
    let server = Running::start(limits, Some(upstream.clone())).await;
    let mut client = server.client().await;
    let get = "{\"get\": {\"method\": \"m\", \"taskhash\": \"t\"}}\n";
    client.write_all(get.as_bytes()).await.unwrap();
    upstream.asked.notified().await;
    server.stop.cancel();
    server.running.await.unwrap();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(Arc::strong_count(&server.service), 1, "nobody uses the service any more");
}

/// An upstream that never answers.
#[derive(Debug, Default)]
struct Silent {
    asked: Notify,
}

impl Silent {
    async fn never<T>(&self) -> T {
        self.asked.notify_one();
        std::future::pending().await
    }
}

#[async_trait]
impl Upstream for Silent {
    async fn unihashes(&self, _: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        self.never().await
    }

    async fn unihashes_exist(&self, _: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        self.never().await
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.never().await
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.never().await
    }

    async fn close(&self) {}
}
