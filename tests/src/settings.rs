//! The command line of a server, and its log.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use crate::binaries::environment;
use crate::tls;
use crate::{Database, Transport, binary};

/// Settings of a server, which can be started by them any number of times.
#[derive(Clone, Debug)]
pub(crate) struct ServerSettings {
    pub(crate) transports: Vec<Transport>,
    pub(crate) database: Arc<Database>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) unprivileged: bool,
}

impl ServerSettings {
    /// Returns the settings of a server with default options.
    pub(crate) fn new(database: Arc<Database>, transport: Transport) -> Self {
        ServerSettings {
            transports: vec![transport],
            database,
            arguments: Vec::new(),
            environment: Vec::new(),
            unprivileged: false,
        }
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

/// Returns the log of the server in this directory.
pub(crate) fn read_log(directory: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(directory.join("log")).unwrap_or_default()).into_owned()
}
