//! Starting a server.

use std::sync::Arc;

use tempfile::TempDir;

use crate::settings::{ServerSettings, read_log};
use crate::wait::eventually;
use crate::{Backend, Database, TestServer, Transport};

/// A server that is to be started: on which transports, on which database, with which options.
#[derive(Clone, Debug)]
pub struct Launch(ServerSettings);

/// Outcome of a start that failed.
#[derive(Debug)]
pub struct FailedStart {
    /// Its exit status.
    pub status: Option<i32>,
    /// Its standard error.
    pub log: String,
}

impl Launch {
    /// A server on a new database.
    #[must_use]
    pub fn new(backend: Backend, transport: Transport) -> Self {
        Launch::on(backend.create(), transport)
    }

    /// A server on a database that exists already, or that others use too.
    #[must_use]
    pub fn on(database: Arc<Database>, transport: Transport) -> Self {
        Launch(ServerSettings::new(database, transport))
    }

    /// Listens on another transport too.
    #[must_use]
    pub fn and(mut self, transport: Transport) -> Self {
        self.0.transports.push(transport);
        self
    }

    /// Adds arguments to the command line.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server as a user who is bound by the permissions of files, which the superuser is not.
    ///
    /// # Panics
    ///
    /// Where the program cannot be copied to a place that this user can read.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        self.0.unprivileged = rustix::process::geteuid().is_root();
        self
    }

    /// With a user `admin` whose password is `secret`, and these permissions for all others.
    #[must_use]
    pub fn with_admin(self, anonymous: &str) -> Self {
        self.args(["--anon-perms", anonymous, "--admin-user", "admin", "--admin-password", "secret"])
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn start(self) -> TestServer {
        TestServer::start(self.0).await
    }

    /// Starts the server, which cannot start, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it keeps running.
    pub async fn start_failing(self) -> FailedStart {
        let directory = TempDir::with_prefix("hashserv-").expect("a temporary directory");
        let mut child = self.0.spawn(directory.path());
        let status = eventually("the server ends", async || child.try_wait().expect("a status")).await;
        FailedStart { status: status.code(), log: read_log(directory.path()) }
    }
}
