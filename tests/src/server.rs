//! A running server.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::settings::{ServerSettings, read_log};
use crate::tls::AUTHORITY;
use crate::wait::eventually;
use crate::{Backend, Database, RawClient, Transport};

/// A running `hashserv`, which is killed when this is dropped.
#[derive(Debug)]
pub struct TestServer {
    settings: ServerSettings,
    directory: TempDir,
    child: Child,
    addresses: Vec<String>,
}

impl TestServer {
    /// A server with default options on a new database.
    pub async fn new(backend: Backend, transport: Transport) -> Self {
        TestServer::start(ServerSettings::new(backend.create(), transport)).await
    }

    /// Starts a server in a new directory and waits until it listens.
    pub(crate) async fn start(settings: ServerSettings) -> Self {
        let directory = TempDir::with_prefix("hashserv-").expect("a temporary directory");
        // A server under another user must reach its socket.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).expect("permissions");
        let child = settings.spawn(directory.path());
        let mut server = TestServer { settings, directory, child, addresses: Vec::new() };
        server.wait_until_it_listens().await;
        server
    }

    /// The address that clients connect to; the first where there are several.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The addresses that the server listens on, with their real ports.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> &Arc<Database> {
        &self.settings.database
    }

    /// The server's own directory, which it runs in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The certificate of the authority that signed the certificate of a `wss://` address.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join(AUTHORITY)
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        read_log(self.directory.path())
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How much memory the process has held at most since its start, in MiB.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    #[must_use]
    pub fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a process");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM of a live process");
        let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number");
        kib / 1024
    }

    /// A connection after its handshake.
    pub async fn connect(&self) -> RawClient {
        RawClient::open(self.address()).await
    }

    /// A connection on which nothing has been sent.
    pub async fn dial(&self) -> RawClient {
        RawClient::dial(self.address()).await.expect("a connection")
    }

    /// A connection of a user who has logged in.
    pub async fn log_in(&self, name: &str, token: &str) -> RawClient {
        let mut client = self.connect().await;
        client.ask(serde_json::json!({"auth": {"username": name, "token": token}})).await;
        client
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a running server");
    }

    /// Makes sure that the process has not ended.
    ///
    /// # Panics
    ///
    /// When it has, with how it ended and what it said.
    pub fn assert_running(&mut self) {
        let ended = self.child.try_wait().expect("a status");
        assert!(
            ended.is_none(),
            "the server has ended by itself, {}: {}",
            ended.unwrap_or_default(),
            self.log()
        );
    }

    /// Waits for the end of the process.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the server ends", async || self.child.try_wait().expect("a status")).await
    }

    /// Asks the server to stop and waits for its end.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.ended().await
    }

    /// Ends the server at once, as a power failure of the process would.
    pub async fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }

    /// Starts the server again, which has ended, with the same options on the same files. A port that the
    /// system picks is another one.
    pub async fn start_again(&mut self) {
        assert!(self.child.try_wait().expect("a status").is_some(), "the server is still running");
        self.child = self.settings.spawn(self.directory.path());
        self.wait_until_it_listens().await;
    }

    async fn wait_until_it_listens(&mut self) {
        let expected = self.settings.transports.len();
        let (child, directory) = (&mut self.child, &self.directory);
        self.addresses = eventually("the server listens", async || {
            let ended = child.try_wait().expect("a status");
            let log = read_log(directory.path());
            let addresses: Vec<String> = log
                .lines()
                .filter_map(|line| line.strip_prefix("Listening on "))
                .map(str::to_owned)
                .collect();
            // The last line may be half written.
            let complete = log.ends_with('\n') && addresses.len() >= expected;
            assert!(ended.is_none(), "the server ended: {log}");
            complete.then_some(addresses)
        })
        .await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
