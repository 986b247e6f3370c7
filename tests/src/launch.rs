//! How a server is to be started.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use tempfile::TempDir;

use crate::binaries::environment;
use crate::tls;
use crate::wait::eventually;
use crate::{Backend, Database, TestServer, Transport, binary};

/// A server that is to be started: on which transports, on which database, with which options.
#[derive(Clone, Debug)]
pub struct Launch {
    transports: Vec<Transport>,
    database: Arc<Database>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    unprivileged: bool,
}

/// What a server said that did not start.
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
        Launch {
            transports: vec![transport],
            database,
            arguments: Vec::new(),
            environment: Vec::new(),
            unprivileged: false,
        }
    }

    /// Listens on another transport too.
    #[must_use]
    pub fn and(mut self, transport: Transport) -> Self {
        self.transports.push(transport);
        self
    }

    /// Adds arguments to the command line.
    #[must_use]
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs the server as a user who is bound by the permissions of files, which the superuser is not.
    ///
    /// # Panics
    ///
    /// Where the program cannot be copied to a place that this user can read.
    #[must_use]
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = rustix::process::geteuid().is_root();
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
        let directory = TempDir::with_prefix("hashserv-").expect("a temporary directory");
        // A server under another user must reach its socket.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
        std::fs::set_permissions(directory.path(), open).expect("permissions");
        TestServer::start(self, directory).await
    }

    /// Starts the server, which cannot start, and waits for its end.
    ///
    /// # Panics
    ///
    /// When it keeps running.
    pub async fn start_failing(self) -> FailedStart {
        let directory = TempDir::with_prefix("hashserv-").expect("a temporary directory");
        let mut child = self.spawn(directory.path());
        let status = eventually("the server ends", async || child.try_wait().expect("a status")).await;
        FailedStart { status: status.code(), log: read_log(directory.path()) }
    }

    /// The program with what goes before it.
    fn program(&self, directory: &Path) -> Vec<String> {
        let program = binary("hashserv");
        if !self.unprivileged {
            return vec![program.display().to_string()];
        }
        // The directory that it lies in may be closed to others.
        let copy = directory.join("hashserv");
        std::fs::copy(&program, &copy).expect("a copy of the program");
        let words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
        words.into_iter().map(str::to_owned).chain([copy.display().to_string()]).collect()
    }

    /// How many addresses the server listens on.
    pub(crate) fn listeners(&self) -> usize {
        self.transports.len()
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    /// Runs the server with its log in `directory`.
    pub(crate) fn spawn(&self, directory: &Path) -> Child {
        let mut words = self.program(directory);
        if !self.arguments.iter().any(|argument| argument == "--bind") {
            for transport in &self.transports {
                words.extend(["--bind".to_owned(), transport.bind_address(directory)]);
            }
        }
        if !self.arguments.iter().any(|argument| argument == "--database") {
            words.extend(["--database".to_owned(), self.database.name()]);
        }
        if self.transports.contains(&Transport::Wss) {
            let files = tls::write_files(directory);
            let path = |path: &Path| path.display().to_string();
            words.extend(["--tls-cert".to_owned(), path(&files.chain)]);
            words.extend(["--tls-key".to_owned(), path(&files.key)]);
        }
        words.extend(self.arguments.iter().cloned());
        let log = File::create(directory.join("log")).expect("a log file");
        Command::new(&words[0])
            .args(&words[1..])
            .current_dir(directory)
            .env_clear()
            .envs(environment())
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("a running server")
    }
}

/// What the server in this directory has said.
pub(crate) fn read_log(directory: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(directory.join("log")).unwrap_or_default()).into_owned()
}
