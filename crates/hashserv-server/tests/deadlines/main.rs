//! Limits of requests all of whose parts are slow.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hashserv_protocol::Hello;
use hashserv_server::{Limits, Server};
use hashserv_service::{Admin, Permissions, Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::hindered::{Hindered, Hindrance, Kind};
use hashserv_storage::{OuthashKey, StorageError, TaskKey, UnifiedRow, Unihash};
use hashserv_transport::{ListenOptions, Listener};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

#[path = "../../../hashserv-storage/examples/memory/storage.rs"]
mod memory;

use memory::MemoryDatabase;

/// Time after which clients give up.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// Time that each part of a request takes, which is within the limit of each.
const SLOW: Duration = Duration::from_secs(19);

/// A database that is slow from some moment on.
#[derive(Debug, Default)]
struct Slow {
    is_slow: AtomicBool,
}

impl Hindrance for Slow {
    async fn pass(&self, _: Kind) -> Result<(), StorageError> {
        if self.is_slow.load(Ordering::SeqCst) {
            sleep(SLOW).await;
        }
        Ok(())
    }
}

/// An upstream that knows nothing, slowly.
#[derive(Debug)]
struct SlowUpstream;

#[async_trait]
impl Upstream for SlowUpstream {
    fn timeout(&self) -> Duration {
        2 * SLOW
    }

    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        sleep(SLOW).await;
        vec![Ok(None); keys.len()]
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        sleep(SLOW).await;
        vec![Ok(false); unihashes.len()]
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        sleep(SLOW).await;
        Ok(None)
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        sleep(SLOW).await;
        Ok(None)
    }

    async fn close(&self) {}
}

/// A server, and a user who is logged in and whose permissions must be read again.
struct Running {
    _directory: TempDir,
    storage: Arc<Hindered<Slow>>,
    service: Arc<Service>,
    client: BufReader<UnixStream>,
}

const PASSWORD: &str = "secret";

impl Running {
    async fn start(upstream: Option<Arc<dyn Upstream>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Arc::new(Hindered::new(MemoryDatabase::default().open(), Slow::default()));
        let service = Arc::new(Service::new(storage.clone(), upstream, &ServiceOptions::default()));
        let address = format!("unix://{}", directory.path().join("socket").display()).parse().unwrap();
        let listener = Listener::bind(&address, &ListenOptions::default()).await.unwrap();
        let server = Server::new(service.clone(), Limits::default());
        tokio::spawn(server.run(vec![listener], CancellationToken::new()));
        let admin = Admin { name: "admin".to_owned(), password: PASSWORD.to_owned().into() };
        service.accounts().ensure_admin(&admin).await.unwrap();
        let mut stream = UnixStream::connect(directory.path().join("socket")).await.unwrap();
        stream.write_all(Hello::default().encode().as_bytes()).await.unwrap();
        let mut running = Running { _directory: directory, storage, service, client: BufReader::new(stream) };
        running
            .send(&format!("{{\"auth\": {{\"username\": \"admin\", \"token\": \"{PASSWORD}\"}}}}\n"))
            .await;
        assert!(running.line().await.contains("\"result\":true"));
        running
    }

    /// Has permissions read again, and makes every call of the database slow.
    async fn become_slow(&self) {
        self.service.accounts().set_permissions("admin", Permissions::ALL).await.unwrap();
        tokio::time::pause();
        self.storage.hindrance().is_slow.store(true, Ordering::SeqCst);
    }

    async fn send(&mut self, lines: &str) {
        self.client.write_all(lines.as_bytes()).await.unwrap();
    }

    /// The next line; empty once the server has closed the connection.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.client.read_line(&mut line).await.unwrap();
        line
    }

    /// Sends the lines, and returns the time until a reply or the end of the connection.
    async fn time_of(&mut self, lines: &str) -> Duration {
        let began = Instant::now();
        self.send(lines).await;
        self.line().await;
        began.elapsed()
    }
}

fn upstreams() -> [Option<Arc<dyn Upstream>>; 2] {
    [None, Some(Arc::new(SlowUpstream))]
}

fn report(number: usize) -> String {
    let unihash = "ab".repeat(32);
    format!(
        "{{\"report\": {{\"method\": \"m\", \"taskhash\": \"t{number}\", \"outhash\": \"o{number}\", \
         \"unihash\": \"{unihash}\"}}}}\n"
    )
}

#[tokio::test]
async fn request_whose_parts_are_all_slow_ends_before_clients_give_up() {
    for upstream in upstreams() {
        for request in [
            &*report(1),
            &format!("{}{}", report(1), report(2)),
            "{\"get\": {\"method\": \"m\", \"taskhash\": \"t\"}}\n",
            "{\"get\": {\"method\": \"m\", \"taskhash\": \"t\", \"all\": true}}\n",
            "{\"get-outhash\": {\"method\": \"m\", \"outhash\": \"o\", \"taskhash\": \"t\"}}\n",
            "{\"get-stream\": null}\n",
            "{\"new-user\": {\"username\": \"u\", \"permissions\": []}}\n",
            "{\"set-user-perms\": {\"username\": \"admin\", \"permissions\": [\"@read\"]}}\n",
            "{\"delete-user\": {\"username\": \"admin\"}}\n",
            "{\"refresh-token\": null}\n",
            "{\"become-user\": {\"username\": \"admin\"}}\n",
            "{\"auth\": {\"username\": \"admin\", \"token\": \"secret\"}}\n",
        ] {
            let mut running = Running::start(upstream.clone()).await;
            running.become_slow().await;
            let time = running.time_of(request).await;
            assert!(time < CLIENT_LIMIT, "{time:?} with {upstream:?}: {request}");
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn stream_whose_parts_are_all_slow_ends_before_clients_give_up() {
    for upstream in upstreams() {
        for mode in ["get-stream", "exists-stream"] {
            let mut running = Running::start(upstream.clone()).await;
            running.send(&format!("{{\"{mode}\": null}}\n")).await;
            assert_eq!(running.line().await, "\"ok\"\n");
            running.become_slow().await;
            let lines = if mode == "get-stream" { "m t\n" } else { "none\n" };
            let time = running.time_of(lines).await;
            assert!(time < CLIENT_LIMIT, "{time:?} with {upstream:?}: {mode}");
            tokio::time::resume();
        }
    }
}

#[tokio::test]
async fn lookups_that_wait_for_a_slow_upstream_in_turns_are_answered_as_they_come() {
    const LOOKUPS: usize = 40;
    let mut running = Running::start(Some(Arc::new(SlowUpstream))).await;
    tokio::time::pause();
    for number in 0..LOOKUPS {
        running.send(&format!("{{\"get\": {{\"method\": \"m\", \"taskhash\": \"t{number}\"}}}}\n")).await;
    }
    let began = Instant::now();
    for _ in 0..LOOKUPS {
        let waiting = Instant::now();
        assert_eq!(running.line().await, "null\n");
        assert!(waiting.elapsed() < CLIENT_LIMIT, "{:?}", waiting.elapsed());
    }
    assert!(began.elapsed() > CLIENT_LIMIT, "they waited in turns");
}

#[tokio::test]
async fn long_command_takes_its_time() {
    let mut running = Running::start(None).await;
    running.become_slow().await;
    running.send("{\"gc-mark\": {\"mark\": \"M\", \"where\": {}}}\n").await;
    assert_eq!(running.line().await, "{\"count\":0}\n");
}
