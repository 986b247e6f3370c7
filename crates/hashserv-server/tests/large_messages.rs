//! Large messages, which are read where they hold up nobody.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::sync::{Arc, mpsc};

use hashserv_protocol::Hello;
use hashserv_server::{Limits, Server};
use hashserv_service::{Service, ServiceOptions};
use hashserv_transport::{ListenOptions, Listener};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

#[path = "../../hashserv-storage/examples/memory/storage.rs"]
mod memory;

use memory::MemoryDatabase;

const PING: &str = "{\"ping\": {}}\n";

const ALIVE: &str = "{\"alive\":true}\n";

async fn start() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let service = Service::new(MemoryDatabase::default().open(), None, &ServiceOptions::default());
    let address = format!("unix://{}", directory.path().join("socket").display()).parse().unwrap();
    let listener = Listener::bind(&address, &ListenOptions::default()).await.unwrap();
    let server = Server::new(Arc::new(service), Limits::default());
    tokio::spawn(server.run(vec![listener], CancellationToken::new()));
    directory
}

async fn connect(directory: &TempDir) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(directory.path().join("socket")).await.unwrap();
    stream.write_all(Hello::default().encode().as_bytes()).await.unwrap();
    BufReader::new(stream)
}

async fn ask(client: &mut BufReader<UnixStream>, message: &str) -> String {
    client.write_all(message.as_bytes()).await.unwrap();
    let mut reply = String::new();
    client.read_line(&mut reply).await.unwrap();
    reply
}

/// A message of a report with so much text, in chunks.
fn report(length: usize) -> String {
    let unihash = "ab".repeat(32);
    let piece = format!("{}\n", "x".repeat(length.min(30_000))).repeat(length.div_ceil(30_000));
    format!(
        "{{\"chunk-stream\": null}}\n{{\"report\": {{\"method\": \"m\", \"taskhash\": \"t\", \"outhash\": \"o\", \
         \"unihash\": \"{unihash}\", \"outhash_siginfo\": \"\n{piece}\"}}}}\n\n"
    )
}

#[test]
fn others_are_served_while_a_large_message_waits_to_be_read() {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let (release, released) = mpsc::channel::<()>();
    runtime.block_on(async {
        let directory = start().await;
        let (mut large, mut other) = (connect(&directory).await, connect(&directory).await);
        assert_eq!(ask(&mut large, PING).await, ALIVE);
        let blocked = tokio::task::spawn_blocking(move || released.recv());
        large.write_all(report(100_000).as_bytes()).await.unwrap();
        for _ in 0..100 {
            assert_eq!(ask(&mut other, PING).await, ALIVE);
            assert!(ask(&mut other, &report(1000)).await.contains("\"unihash\""));
        }
        assert!(large.get_mut().try_read(&mut [0]).is_err(), "it waits for the thread");
        release.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        assert!(ask(&mut large, "").await.contains("\"unihash\""));
        assert_eq!(ask(&mut large, PING).await, ALIVE);
    });
}

#[tokio::test]
async fn large_message_is_refused_unless_it_is_a_report() {
    let directory = start().await;
    let mut client = connect(&directory).await;
    assert!(ask(&mut client, &report(1_000_000)).await.contains("\"unihash\""));
    let ping = report(2_000_000).replace("\"report\"", "\"ping\"");
    assert!(ask(&mut client, &ping).await.contains("is no report"));
    let mut client = connect(&directory).await;
    let ping = report(100_000).replace("\"report\"", "\"ping\"");
    assert_eq!(ask(&mut client, &ping).await, ALIVE);
    let bad = report(1_000_000).replace("abab", "xyxy");
    assert!(ask(&mut client, &bad).await.contains("Invalid unihash"));
}
