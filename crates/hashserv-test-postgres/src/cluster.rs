//! Clusters that go with the process that started them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::account;
use crate::database::{Database, UTF8};
use crate::programs::{run, server_programs};

/// How often another port is tried.
const ATTEMPTS: usize = 10;

/// A PostgreSQL server with databases of its own.
///
/// It listens on a port of 127.0.0.1; its superuser is `postgres` and needs no password. It is stopped and its
/// files are removed when this value is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Cluster {
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    /// Removes everything when its standard input is closed, which the end of this process does too.
    guard: Child,
}

/// Whether commits wait for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// They do not: faster, and as good for tests of anything but durability.
    #[default]
    None,
    /// They do, as in production.
    Full,
}

/// How a cluster is set up.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Whether commits wait for the disk.
    pub durability: Durability,
    /// Lines for `postgresql.conf`.
    pub settings: Vec<String>,
}

impl Cluster {
    /// Starts a new cluster.
    ///
    /// # Panics
    ///
    /// Where PostgreSQL is not installed (the message says what to do), or does not start.
    #[must_use]
    pub fn start(setup: &Setup) -> Self {
        let programs = server_programs();
        let directory = new_directory();
        let guard = guard(&programs, &directory);
        let cluster = Cluster { programs, directory, port: 0, guard };
        let sync = if setup.durability == Durability::None { "--no-sync" } else { "--data-checksums" };
        run(cluster.command("initdb").arg("-D").arg(cluster.data()).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            sync,
        ]));
        let mut settings = setup.settings.join("\n");
        if setup.durability == Durability::None {
            settings.push_str("\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off");
        }
        cluster.started_on_free_port(&settings)
    }

    /// Starts a hot standby of this cluster.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    #[must_use]
    pub fn start_standby(&self) -> Self {
        let directory = new_directory();
        let guard = guard(&self.programs, &directory);
        let cluster = Cluster { programs: self.programs.clone(), directory, port: 0, guard };
        let url = self.url("postgres");
        run(cluster
            .command("pg_basebackup")
            .arg("-D")
            .arg(cluster.data())
            .args(["-R", "-c", "fast", "-d", &url]));
        cluster.started_on_free_port("hot_standby = on")
    }

    fn started_on_free_port(mut self, settings: &str) -> Self {
        let configuration = self.data().join("postgresql.auto.conf");
        let before = std::fs::read_to_string(&configuration).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            self.port = free_port();
            let own = format!(
                "{before}\n{settings}\nport = {}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\n\
                 max_wal_senders = 4\nwal_level = replica\n",
                self.port,
                self.directory.display()
            );
            std::fs::write(&configuration, own).expect("the configuration can be written");
            if self.try_run() {
                return self;
            }
        }
        panic!("PostgreSQL does not start: {}", self.log());
    }

    /// Starts the cluster again after [`kill`](Cluster::kill) or [`stop`](Cluster::stop), on the same port.
    ///
    /// # Panics
    ///
    /// Where it does not start.
    pub fn run(&self) {
        // After a crash the processes that the dead server left need a moment to notice.
        for _ in 0..ATTEMPTS {
            if self.try_run() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        panic!("PostgreSQL does not start again: {}", self.log());
    }

    /// Ends the server as a crash would.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    pub fn kill(&self) {
        run(Command::new("kill").args(["-KILL", &self.pid()]));
    }

    /// Stops all processes of the server as they are, until the returned value is dropped.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    #[must_use]
    pub fn freeze(&self) -> Frozen {
        let main = self.pid();
        let mut pids = vec![main.clone()];
        run(Command::new("kill").args(["-STOP", &main]));
        // It starts no further process now.
        let children = std::fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
        pids.extend(children.expect("the processes of the server").split_whitespace().map(str::to_owned));
        signal("-STOP", &pids);
        Frozen { pids }
    }

    fn pid(&self) -> String {
        let text = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("the server runs");
        text.lines().next().expect("a number").to_owned()
    }

    /// Stops the server, closing the connections of its clients.
    ///
    /// # Panics
    ///
    /// Where it does not run.
    pub fn stop(&self) {
        run(self.pg_ctl().args(["-m", "fast", "-w", "stop"]));
    }

    /// Makes the primary of a standby.
    ///
    /// # Panics
    ///
    /// Where that fails.
    pub fn promote(&self) {
        run(self.pg_ctl().args(["-w", "promote"]));
    }

    /// The URL of a database, for the superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgresql://postgres@127.0.0.1:{}/{database}", self.port)
    }

    /// The address on which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// A new database, which goes with the cluster.
    ///
    /// # Panics
    ///
    /// Where it cannot be made.
    #[must_use]
    pub fn create_database(&self) -> Database {
        Database::create(&self.url("postgres"), UTF8)
    }

    fn try_run(&self) -> bool {
        let log = self.directory.join("log");
        let mut command = self.pg_ctl();
        command.arg("-l").arg(log).args(["-w", "-t", "60", "start"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.data());
        command
    }

    fn command(&self, program: &str) -> Command {
        let mut command = account::command(self.programs.join(program));
        command.current_dir(&self.directory).stdin(Stdio::null());
        command
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_else(|error| error.to_string())
    }
}

/// A server whose processes stand still until this is dropped.
#[derive(Debug)]
pub struct Frozen {
    pids: Vec<String>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        signal("-CONT", &self.pids);
    }
}

/// Sends a signal to processes, some of which may have ended.
fn signal(signal: &str, pids: &[String]) {
    let _ = Command::new("kill").arg(signal).args(pids).stderr(Stdio::null()).status();
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Not in `TMPDIR`, which another user may not be allowed to enter; the path of a socket must be short, too.
fn new_directory() -> PathBuf {
    let directory =
        tempfile::Builder::new().prefix("hashserv-postgres-").tempdir_in("/tmp").expect("a directory");
    account::give(directory.path()).expect("the directory can be given away");
    directory.keep()
}

/// Waits for the end of this process, then stops the cluster and removes its files. A signal from the
/// keyboard, which all processes of a terminal get, must not end it before. A frozen cluster could not be stopped.
fn guard(programs: &Path, directory: &Path) -> Child {
    const SCRIPT: &str = "trap '' INT TERM HUP QUIT; read -r _; \
        pid=$(head -n 1 \"$2/data/postmaster.pid\"); \
        kill -CONT \"$pid\" $(cat \"/proc/$pid/task/$pid/children\"); \
        \"$1/pg_ctl\" -D \"$2/data\" -m immediate -w stop; cd /; rm -rf \"$2\"";
    let mut command = account::command("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(programs).arg(directory).current_dir(directory);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sh runs")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
