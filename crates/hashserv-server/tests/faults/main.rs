//! What clients see of trouble that is the server's own: connections that are closed, and nothing else.
//!
//! BitBake takes an explained error for the end of the build, and in stream modes any line for a unihash.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_log::CapturedLog;
use hashserv_protocol::{Command, Hello};
use hashserv_server::{Limits, Server};
use hashserv_service::{Permissions, Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, Storage, TaskKey, UnifiedRow, Unihash, UnihashEntry};
use hashserv_storage_sql::{DatabaseName, Options, open};
use hashserv_transport::{ListenOptions, Listener};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::Level;

/// Far longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// An administrator's password.
const PASSWORD: &str = "secret";

/// A server on a database that a test can close under it.
struct Running {
    directory: TempDir,
    storage: Arc<dyn Storage>,
    service: Arc<Service>,
    stop: CancellationToken,
}

impl Running {
    async fn start(upstream: Option<Arc<dyn Upstream>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Running::start_with(directory, &Options::default(), upstream, &ServiceOptions::default()).await
    }

    async fn start_with(
        directory: TempDir,
        database: &Options,
        upstream: Option<Arc<dyn Upstream>>,
        options: &ServiceOptions,
    ) -> Self {
        let storage = open(&database_in(&directory), database).await.unwrap();
        let service = Arc::new(Service::new(storage.clone(), upstream, options));
        let address = format!("unix://{}", directory.path().join("socket").display()).parse().unwrap();
        let listener = Listener::bind(&address, &ListenOptions::default()).await.unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(Server::new(service.clone(), Limits::default()).run(vec![listener], stop.clone()));
        Running { directory, storage, service, stop }
    }

    async fn client(&self) -> Client {
        let mut stream = UnixStream::connect(self.directory.path().join("socket")).await.unwrap();
        stream.write_all(Hello::default().encode().as_bytes()).await.unwrap();
        Client(stream)
    }

    /// A client of an administrator.
    async fn administrator(&self) -> Client {
        let admin =
            hashserv_service::Admin { name: "admin".to_owned(), password: PASSWORD.to_owned().into() };
        self.service.accounts().ensure_admin(&admin).await.unwrap();
        let mut client = self.client().await;
        client.log_in("admin", PASSWORD).await;
        client
    }
}

fn database_in(directory: &TempDir) -> DatabaseName {
    DatabaseName::sqlite(directory.path().join("hashserv.db"))
}

struct Client(UnixStream);

impl Client {
    async fn send(&mut self, lines: &str) {
        self.0.write_all(lines.as_bytes()).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            let byte = timeout(PATIENCE, self.0.read_u8()).await.unwrap().unwrap();
            if byte == b'\n' {
                return String::from_utf8(line).unwrap();
            }
            line.push(byte);
        }
    }

    /// All that comes before the server closes the connection.
    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        timeout(PATIENCE, self.0.read_to_string(&mut rest)).await.unwrap().unwrap();
        rest
    }

    async fn log_in(&mut self, name: &str, token: &str) {
        self.send(&format!("{{\"auth\": {{\"username\": \"{name}\", \"token\": \"{token}\"}}}}\n")).await;
        assert!(self.line().await.contains("\"result\":true"));
    }
}

fn hash() -> String {
    "ab".repeat(32)
}

/// A good request for every command that needs the database.
fn requests() -> Vec<String> {
    let hashes = format!("\"method\": \"m\", \"taskhash\": \"t\", \"unihash\": \"{}\"", hash());
    let arguments = |command: Command| match command {
        Command::Get => Some("{\"method\": \"m\", \"taskhash\": \"t\", \"all\": true}".to_owned()),
        Command::GetOuthash => {
            Some("{\"method\": \"m\", \"outhash\": \"o\", \"taskhash\": \"t\"}".to_owned())
        }
        Command::Report => Some(format!("{{{hashes}, \"outhash\": \"o\"}}")),
        Command::ReportEquiv => Some(format!("{{{hashes}}}")),
        Command::GetDbUsage | Command::GcStatus | Command::GetAllUsers => Some("null".to_owned()),
        Command::Remove => Some("{\"where\": {\"method\": \"m\"}}".to_owned()),
        Command::CleanUnused => Some("{\"max_age_seconds\": 0}".to_owned()),
        Command::GcMark => Some("{\"mark\": \"M\", \"where\": {}}".to_owned()),
        Command::GcSweep => Some("{\"mark\": \"M\"}".to_owned()),
        Command::Auth => Some("{\"username\": \"u\", \"token\": \"x\"}".to_owned()),
        Command::GetUser | Command::BecomeUser | Command::RefreshToken | Command::DeleteUser => {
            Some("{\"username\": \"u\"}".to_owned())
        }
        Command::NewUser | Command::SetUserPerms => {
            Some("{\"username\": \"u\", \"permissions\": []}".to_owned())
        }
        // They need no database, or are tested as streams.
        Command::Ping
        | Command::GetStream
        | Command::ExistsStream
        | Command::GcMarkStream
        | Command::GetStats
        | Command::ResetStats
        | Command::BackfillWait
        | Command::GetDbQueryColumns => None,
    };
    let request = |command: Command| Some(format!("{{\"{}\": {}}}\n", command.name(), arguments(command)?));
    Command::ALL.into_iter().filter_map(request).collect()
}

#[tokio::test]
async fn request_that_fails_is_closed_without_a_reply() {
    for upstream in [None, Some(Arc::new(Away) as Arc<dyn Upstream>)] {
        let log = CapturedLog::start();
        let server = Running::start(upstream).await;
        let mut clients = Vec::new();
        for request in requests() {
            clients.push((server.administrator().await, request));
        }
        server.storage.close().await;
        for (mut client, request) in clients {
            let before = log.lines(Level::ERROR).len();
            // One error a second is logged at most.
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::time::resume();
            client.send(&format!("{{\"ping\": {{}}}}\n{request}{{\"ping\": {{}}}}\n")).await;
            assert_eq!(client.rest().await, "{\"alive\":true}\n", "{request}");
            let errors = log.lines(Level::ERROR);
            assert_eq!(errors.len(), before + 1, "{request}: {errors:?}");
            assert!(errors[before].contains("the database is closed"), "{errors:?}");
        }
    }
}

#[tokio::test]
async fn many_requests_that_fail_are_one_error_a_second() {
    let log = CapturedLog::start();
    let server = Running::start(None).await;
    server.storage.close().await;
    tokio::time::pause();
    for number in 0..=100 {
        if number == 100 {
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        let mut client = server.client().await;
        client.send("{\"get\": {\"method\": \"m\", \"taskhash\": \"t\"}}\n").await;
        assert_eq!(client.0.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    }
    let errors = log.lines(Level::ERROR);
    assert!(errors.len() == 2 && errors[1].ends_with("(99 such errors before were left out)"), "{errors:?}");
}

#[tokio::test]
async fn stream_that_fails_is_closed_without_a_line() {
    for upstream in [None, Some(Arc::new(Away) as Arc<dyn Upstream>)] {
        for (command, known, unknown) in [
            ("get-stream", "m t\n", "m u\n"),
            ("exists-stream", &*format!("{}\n", hash()), "none\n"),
            ("gc-mark-stream", "", "{\"mark\": \"M\", \"where\": {}}\n"),
        ] {
            let server = Running::start(upstream.clone()).await;
            let unihash = Unihash::parse(&hash()).unwrap();
            let entry = UnihashEntry { method: "m".into(), taskhash: "t".into(), unihash };
            server.storage.record_unihashes(vec![entry]).await.unwrap();
            let mut client = server.client().await;
            client.send(&format!("{{\"{command}\": null}}\n{known}")).await;
            assert_eq!(client.line().await, "\"ok\"");
            if !known.is_empty() {
                assert_ne!(client.line().await, "");
            }
            server.storage.close().await;
            client.send(&format!("{unknown}{unknown}END\n")).await;
            assert_eq!(client.rest().await, "", "{command}");
        }
    }
}

#[tokio::test]
async fn report_to_a_database_that_is_read_only_is_closed_without_a_reply() {
    let directory = tempfile::tempdir().unwrap();
    open(&database_in(&directory), &Options::default()).await.unwrap().close().await;
    let read_only = Options { read_only: true, ..Options::default() };
    let server = Running::start_with(directory, &read_only, None, &ServiceOptions::default()).await;
    let report = requests().into_iter().find(|request| request.contains("\"report\"")).unwrap();
    let mut client = server.client().await;
    client.send(&report).await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn lookup_that_panics_is_closed_without_a_reply() {
    let server = Running::start(Some(Arc::new(Panicking))).await;
    let mut client = server.client().await;
    client.send("{\"get-stream\": null}\nm t\n").await;
    assert_eq!(client.line().await, "\"ok\"");
    assert_eq!(client.rest().await, "");
    let mut client = server.client().await;
    client.send("{\"get\": {\"method\": \"m\", \"taskhash\": \"t\"}}\n").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn user_who_loses_a_permission_in_a_stream_is_told_nothing() {
    for upstream in [None, Some(Arc::new(Away) as Arc<dyn Upstream>)] {
        for deletes in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let options = ServiceOptions { anonymous: Permissions::NONE, ..ServiceOptions::default() };
            let server =
                Running::start_with(directory, &Options::default(), upstream.clone(), &options).await;
            let mut admin = server.administrator().await;
            admin.send("{\"new-user\": {\"username\": \"alice\", \"permissions\": [\"@read\"]}}\n").await;
            let reply: serde_json::Value = serde_json::from_str(&admin.line().await).unwrap();
            let mut alice = server.client().await;
            alice.log_in("alice", reply["token"].as_str().unwrap()).await;
            alice.send("{\"get-stream\": null}\nm t\n").await;
            assert_eq!((alice.line().await.as_str(), alice.line().await.as_str()), ("\"ok\"", ""));
            let change = if deletes {
                "{\"delete-user\": {\"username\": \"alice\"}}\n"
            } else {
                "{\"set-user-perms\": {\"username\": \"alice\", \"permissions\": []}}\n"
            };
            admin.send(change).await;
            admin.line().await;
            alice.send("m t\nm t\n").await;
            assert_eq!(alice.rest().await, "");
        }
    }
}

#[tokio::test]
async fn stop_closes_and_says_nothing() {
    for upstream in [None, Some(Arc::new(Away) as Arc<dyn Upstream>)] {
        let server = Running::start(upstream).await;
        let mut clients = Vec::new();
        for mode in
            ["", "{\"get-stream\": null}\n", "{\"exists-stream\": null}\n", "{\"gc-mark-stream\": null}\n"]
        {
            let mut client = server.client().await;
            client.send(&format!("{{\"ping\": {{}}}}\n{mode}")).await;
            client.line().await;
            if !mode.is_empty() {
                client.line().await;
            }
            clients.push(client);
        }
        server.stop.cancel();
        for mut client in clients {
            assert_eq!(client.rest().await, "");
        }
    }
}

#[tokio::test]
async fn stored_unihash_that_no_line_can_carry_is_an_empty_line() {
    let log = CapturedLog::start();
    let server = Running::start(None).await;
    for (taskhash, unihash) in [("t1", "a\nb"), ("t2", "a b"), ("t3", "plain")] {
        let unihash = Unihash::from_stored(unihash);
        let entry = UnihashEntry { method: "m".into(), taskhash: taskhash.into(), unihash };
        server.storage.record_unihashes(vec![entry]).await.unwrap();
    }
    let mut client = server.client().await;
    client.send("{\"get-stream\": null}\nm t1\nm t2\nm t3\nm t1\nEND\n").await;
    for expected in ["\"ok\"", "", "", "plain", "", "ok"] {
        assert_eq!(client.line().await, expected);
    }
    client.send("{\"get\": {\"method\": \"m\", \"taskhash\": \"t1\"}}\n").await;
    assert!(client.line().await.contains("\"unihash\":\"a\\nb\""));
    let warnings = log.lines(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("task \"t1\" of method \"m\""), "{warnings:?}");
}

#[tokio::test]
async fn askers_for_tokens_who_left_hold_up_nobody() {
    let server = Running::start(None).await;
    let mut admin = server.administrator().await;
    let mut tokens = Vec::new();
    for name in ["alice", "bob"] {
        admin.send(&format!("{{\"new-user\": {{\"username\": \"{name}\", \"permissions\": []}}}}\n")).await;
        let reply: serde_json::Value = serde_json::from_str(&admin.line().await).unwrap();
        tokens.push(reply["token"].as_str().unwrap().to_owned());
    }
    let mut flood = Vec::new();
    for _ in 0..130 {
        let mut client = server.client().await;
        client.log_in("alice", &tokens[0]).await;
        flood.push(client);
    }
    let mut bob = server.client().await;
    bob.log_in("bob", &tokens[1]).await;
    for client in &mut flood {
        client.send("{\"refresh-token\": {}}\n").await;
    }
    bob.send("{\"refresh-token\": {}}\n").await;
    assert!(bob.line().await.contains("\"token\""));
    drop(flood);
    bob.send("{\"refresh-token\": {}}\n").await;
    assert!(bob.line().await.contains("\"token\""));
}

#[tokio::test]
async fn client_that_sends_nothing_more_gets_its_token() {
    let server = Running::start(None).await;
    let mut admin = server.administrator().await;
    admin.send("{\"new-user\": {\"username\": \"alice\", \"permissions\": []}}\n").await;
    admin.0.shutdown().await.unwrap();
    assert!(admin.rest().await.contains("\"token\""));
}

/// An upstream that is never available.
#[derive(Debug)]
struct Away;

#[async_trait]
impl Upstream for Away {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        keys.iter().map(|_| Err(Unavailable)).collect()
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        unihashes.iter().map(|_| Err(Unavailable)).collect()
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        Err(Unavailable)
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        Err(Unavailable)
    }

    async fn close(&self) {}
}

/// An upstream with a defect.
#[derive(Debug)]
struct Panicking;

#[async_trait]
impl Upstream for Panicking {
    async fn unihashes(&self, _: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        panic!("a defect")
    }

    async fn unihashes_exist(&self, _: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        panic!("a defect")
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        panic!("a defect")
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        panic!("a defect")
    }

    async fn close(&self) {}
}
