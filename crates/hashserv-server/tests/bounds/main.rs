//! What a server does at its bounds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_log::CapturedLog;
use hashserv_protocol::{Address, Hello};
use hashserv_server::{Limits, RESERVED_UNIX_CONNECTIONS, Server};
use hashserv_service::{Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, TaskKey, UnifiedRow, Unihash};
use hashserv_storage_sql::{Options, open};
use hashserv_transport::{ListenOptions, Listener};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Level;

/// Long before anybody would stop waiting for a test.
const SHORT: Duration = Duration::from_millis(100);

/// A server with two unix sockets and a TCP port.
struct Running {
    directory: TempDir,
    port: Address,
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
        let listener =
            Listener::bind(&"127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).await.unwrap();
        let port = listener.local_address().clone();
        listeners.push(listener);
        let stop = CancellationToken::new();
        let server = Server::new(service.clone(), limits);
        let running = tokio::spawn(server.run(listeners, stop.clone()));
        Running { directory, port, service, stop, running }
    }

    fn socket(&self, name: &str) -> impl AsRef<Path> {
        self.directory.path().join(name)
    }

    /// A client that has said the handshake.
    async fn client(&self) -> BufReader<UnixStream> {
        greet(UnixStream::connect(self.socket("one")).await.unwrap()).await
    }

    /// A client of the network that has said the handshake.
    async fn tcp_client(&self) -> BufReader<TcpStream> {
        greet(TcpStream::connect(self.port.to_string()).await.unwrap()).await
    }
}

async fn greet<S: AsyncRead + AsyncWrite + Unpin>(mut client: S) -> BufReader<S> {
    client.write_all(Hello::default().encode().as_bytes()).await.unwrap();
    BufReader::new(client)
}

/// The reply; empty if the server closes the connection.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(client: &mut BufReader<S>, request: &str) -> String {
    // What the server has closed need not take it.
    let _ = client.write_all(format!("{request}\n").as_bytes()).await;
    let mut reply = String::new();
    let _ = client.read_line(&mut reply).await;
    reply
}

const PING: &str = "{\"ping\": {}}";

const ALIVE: &str = "{\"alive\":true}\n";

/// Few places, which one address may take.
fn places(connections: usize) -> Limits {
    Limits { connections, connections_per_peer: Some(100), ..Limits::default() }
}

#[tokio::test]
async fn who_does_not_say_the_handshake_is_turned_away() {
    let server = Running::start(Limits { handshake: SHORT, ..Limits::default() }, None).await;
    let mut silent = UnixStream::connect(server.socket("one")).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn who_does_not_say_the_handshake_gives_way_where_places_are_short() {
    let server = Running::start(places(4), None).await;
    let mut idle = server.client().await;
    assert_eq!(ask(&mut idle, PING).await, ALIVE);
    let mut silent = Vec::new();
    for _ in 0..RESERVED_UNIX_CONNECTIONS + 10 {
        silent.push(UnixStream::connect(server.socket("one")).await.unwrap());
    }
    let mut waiting = server.tcp_client().await;
    let mut administrator = greet(UnixStream::connect(server.socket("one")).await.unwrap()).await;
    // From here on the clock goes only while everybody waits.
    tokio::time::pause();
    let began = Instant::now();
    assert_eq!(ask(&mut administrator, PING).await, ALIVE);
    assert_eq!(ask(&mut waiting, PING).await, ALIVE);
    assert!(began.elapsed() < Limits::default().handshake / 2, "{:?}", began.elapsed());
    assert_eq!(ask(&mut idle, PING).await, ALIVE, "its handshake is complete");
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
    let server = Running::start(places(1), None).await;
    for _ in 0..3 {
        assert_eq!(ask(&mut server.tcp_client().await, PING).await, ALIVE);
    }
}

#[tokio::test]
async fn unix_sockets_have_places_that_the_network_cannot_take() {
    let server = Running::start(places(2), None).await;
    let mut idle = Vec::new();
    for _ in 0..2 {
        let mut client = server.tcp_client().await;
        assert_eq!(ask(&mut client, PING).await, ALIVE);
        idle.push(client);
    }
    let _waiting = server.tcp_client().await;
    let mut administrators = Vec::new();
    for _ in 0..RESERVED_UNIX_CONNECTIONS {
        let mut client = server.client().await;
        assert_eq!(ask(&mut client, PING).await, ALIVE);
        administrators.push(client);
    }
    // Any place that becomes free serves one that waits for it.
    let mut late = server.client().await;
    administrators.pop();
    assert_eq!(ask(&mut late, PING).await, ALIVE);
}

#[tokio::test]
async fn address_with_too_many_connections_gets_no_further_one() {
    let log = CapturedLog::start();
    let limits = Limits { connections_per_peer: Some(2), ..Limits::default() };
    let server = Running::start(limits, None).await;
    let mut first = server.tcp_client().await;
    let mut second = server.tcp_client().await;
    assert_eq!(ask(&mut first, PING).await, ALIVE);
    assert_eq!(ask(&mut second, PING).await, ALIVE);
    for _ in 0..3 {
        assert_eq!(ask(&mut server.tcp_client().await, PING).await, "", "closed without a reply");
    }
    assert_eq!(ask(&mut server.client().await, PING).await, ALIVE);
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("--max-connections-per-peer"), "{warnings:?}");
    drop(first);
    // Its place is free as soon as the server has seen it go.
    while ask(&mut server.tcp_client().await, PING).await.is_empty() {}
}

#[tokio::test]
async fn one_address_cannot_take_all_places_by_default() {
    let server = Running::start(Limits { connections: 4, ..Limits::default() }, None).await;
    let mut clients = [server.tcp_client().await, server.tcp_client().await];
    for client in &mut clients {
        assert_eq!(ask(client, PING).await, ALIVE);
    }
    assert_eq!(ask(&mut server.tcp_client().await, PING).await, "");
}

/// Sends a message in chunks, and returns the time for which the server did not want to receive.
async fn pause_after(chunk: &str, count: usize) -> Duration {
    let server = Running::start(Limits::default(), None).await;
    let mut client = server.client().await;
    assert_eq!(ask(&mut client, PING).await, ALIVE);
    // From here on the clock goes only while everybody waits.
    tokio::time::pause();
    let began = Instant::now();
    let chunks = format!("{chunk}\n").repeat(count);
    let message = format!("{{\"chunk-stream\": null}}\n{{\"nonsense\": \"\n{chunks}\"}}\n");
    assert!(ask(&mut client, &message).await.contains("invoke-error"));
    began.elapsed()
}

#[tokio::test]
async fn tiny_chunks_slow_a_client_down() {
    assert!(pause_after("x", 200_000).await >= Duration::from_secs(5));
}

#[tokio::test]
async fn long_message_slows_no_client_down() {
    assert!(pause_after(&"x".repeat(30_000), 2_000).await < Duration::from_secs(5));
}

#[tokio::test]
async fn a_full_server_does_not_warn_for_every_client() {
    let log = CapturedLog::start();
    let server = Running::start(places(1), None).await;
    assert!(log.lines(Level::WARN).is_empty());
    let mut served = server.tcp_client().await;
    for _ in 0..3 {
        let mut next = server.tcp_client().await;
        for _ in 0..10 {
            ask(&mut served, PING).await;
        }
        let mut waiting = [0];
        next.get_mut().write_all(PING.as_bytes()).await.unwrap();
        assert!(next.get_mut().try_read(&mut waiting).is_err(), "there is no place for it");
        drop(served);
        assert_eq!(ask(&mut next, "").await, ALIVE);
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
