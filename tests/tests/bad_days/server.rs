//! A server under supervision: one that ends is started again.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hashserv_tests::{Signal, binary};
use rustix::process::{Pid, kill_process};
use tokio::process::{Child, Command};

use crate::folder::Folder;
use crate::ledger::{Check, Ledger};

/// Time that a server may take to stop: documented are some 10 s, the rest is for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Pause of the supervisor before it starts a server again.
const RESTART_PAUSE: Duration = Duration::from_millis(300);

/// The command line and the environment of a server.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A server that is started again whenever it ends, as systemd would do.
pub(crate) struct Server {
    options: Options,
    log: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    process: Option<Pid>,
    /// Time of the SIGTERM that this process was sent.
    stop_asked: Option<Instant>,
    was_killed: bool,
    is_over: bool,
    /// Set by the supervisor when it has ended, and no process is left.
    has_ended: bool,
}

impl Server {
    /// Starts a server and its supervisor.
    pub(crate) fn start(options: Options, folder: &Arc<Folder>, ledger: &Arc<Ledger>) -> Self {
        let log = folder.path().join(format!("{}.log", options.name));
        let server = Server { options, log, state: Arc::default() };
        let supervisor = Supervisor {
            options: server.options.clone(),
            log: server.log.clone(),
            state: server.state.clone(),
            folder: folder.clone(),
            ledger: ledger.clone(),
        };
        tokio::spawn(supervisor.supervise());
        server
    }

    pub(crate) fn addresses(&self) -> &[String] {
        &self.options.addresses
    }

    /// Ends the process at once, as the system does when memory runs out.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock().expect("no panic");
        state.was_killed = true;
        state.signal(Signal::KILL);
    }

    /// Asks the process to stop.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock().expect("no panic");
        if state.stop_asked.is_none() && state.signal(Signal::TERM) {
            state.stop_asked = Some(Instant::now());
        }
    }

    /// Stops the server for good.
    pub(crate) async fn end(&self) {
        self.state.lock().expect("no panic").is_over = true;
        let start = Instant::now();
        while !self.state.lock().expect("no panic").has_ended {
            // A process may have been on its way into the world.
            self.stop();
            if start.elapsed() > 2 * STOP_LIMIT {
                self.kill();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the server has logged, all its processes one after another.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl State {
    fn signal(&self, signal: Signal) -> bool {
        self.process.is_some_and(|process| kill_process(process, signal).is_ok())
    }
}

struct Supervisor {
    options: Options,
    log: PathBuf,
    state: Arc<Mutex<State>>,
    folder: Arc<Folder>,
    ledger: Arc<Ledger>,
}

impl Supervisor {
    async fn supervise(self) {
        while !self.state.lock().expect("no panic").is_over {
            let log_start = std::fs::metadata(&self.log).map_or(0, |file| file.len());
            let mut child = self.spawn();
            let status = child.wait().await.expect("a status");
            let state = {
                let mut state = self.state.lock().expect("no panic");
                let is_over = state.is_over;
                std::mem::replace(&mut *state, State { is_over, ..State::default() })
            };
            self.judge(&state, status, log_start);
            tokio::time::sleep(RESTART_PAUSE).await;
        }
        self.state.lock().expect("no panic").has_ended = true;
    }

    fn spawn(&self) -> Child {
        let log = OpenOptions::new().append(true).create(true).open(&self.log).expect("a log file");
        let child = self.command(&log).spawn().expect("a running server");
        let id = child.id().expect("a running server");
        self.folder.guard(id);
        let mut state = self.state.lock().expect("no panic");
        state.process = Pid::from_raw(i32::try_from(id).expect("a process id"));
        child
    }

    fn command(&self, log: &File) -> Command {
        let mut command = Command::new(binary("hashserv"));
        for (name, _) in std::env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"HASHSERVER_") {
                command.env_remove(name);
            }
        }
        for address in &self.options.addresses {
            command.args(["--bind", address]);
        }
        command
            .args(&self.options.arguments)
            .envs(self.options.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log.try_clone().expect("a log file"))
            .kill_on_drop(true);
        command
    }

    /// A server may fail to start on a bad day. One that has started must run until it is asked to stop.
    fn judge(&self, state: &State, status: std::process::ExitStatus, log_start: u64) {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(log.get(log_start as usize..).unwrap_or_default()).into_owned();
        let has_started = log.contains("Listening on ");
        let is_expected = match status.code() {
            None => state.was_killed,
            Some(0) => state.stop_asked.is_some(),
            // A signal during the start ends it, and so does a database that is away.
            Some(1) => !has_started,
            Some(_) => false,
        };
        let name = &self.options.name;
        if !is_expected && !state.was_killed {
            let asked = if state.stop_asked.is_some() { " after SIGTERM" } else { "" };
            let last: Vec<&str> = log.lines().rev().take(5).collect();
            self.ledger.violation(Check::Servers, &format!("{name} ended with {status}{asked}: {last:?}"));
        }
        if log.contains("panicked at") {
            let line = log.lines().find(|line| line.contains("panicked at")).unwrap_or_default();
            self.ledger.violation(Check::Servers, &format!("{name} has panicked: {line}"));
        }
        if let Some(took) = state.stop_asked.map(|asked| asked.elapsed()).filter(|took| *took > STOP_LIMIT) {
            self.ledger.violation(Check::Servers, &format!("{name} took {took:?} to stop"));
        }
    }
}
