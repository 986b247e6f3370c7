//! The real server, as a process.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use hashserv_protocol::Address;

use crate::Result;
use crate::process::Process;

/// How long to wait for a line of its log.
const PATIENCE: Duration = Duration::from_secs(600);

/// A server on addresses of each kind.
pub(crate) struct Server {
    process: Process,
    log: Receiver<(Instant, String)>,
    /// Unix, TCP, WebSocket, WebSocket over TLS.
    addresses: Vec<Address>,
    started_in: Duration,
}

impl Server {
    /// Starts the program on a database, and waits until it listens.
    pub(crate) fn start(
        mut command: Command,
        database: &Path,
        socket: &Path,
        options: &[&str],
    ) -> Result<Self> {
        command.arg("--database").arg(database).arg("--bind").arg(format!("unix://{}", socket.display()));
        for address in ["127.0.0.1:0", "ws://127.0.0.1:0", "wss://127.0.0.1:0"] {
            command.args(["--bind", address]);
        }
        command.args(options).stderr(Stdio::piped());
        let begin = Instant::now();
        let mut process = Process::start(&mut command)?;
        let log = follow(&mut process)?;
        let mut server = Server { process, log, addresses: Vec::new(), started_in: Duration::ZERO };
        for _ in 0..4 {
            let (at, line) = server.wait_for("Listening on ")?;
            server.started_in = at - begin;
            let (_, address) = line.split_once("Listening on ").unwrap_or_default();
            server.addresses.push(address.parse()?);
        }
        Ok(server)
    }

    /// Waits until the newest unihashes are in memory. The server must have been started with `--log INFO`.
    pub(crate) fn wait_until_read_ahead(&self) -> Result<()> {
        self.wait_for("unihashes were read ahead").map(|_| ())
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// How long it took from the start of the process until the server listened everywhere.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    pub(crate) fn socket(&self) -> Result<&Path> {
        match &self.addresses[0] {
            Address::Unix(path) => Ok(path),
            other => Err(format!("expected a unix socket, not {other}").into()),
        }
    }

    /// Where it listens, with a name: unix, tcp, ws, wss.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, &Address)> {
        ["unix", "tcp", "ws", "wss"].into_iter().zip(&self.addresses)
    }

    fn wait_for(&self, text: &str) -> Result<(Instant, String)> {
        loop {
            let entry =
                self.log.recv_timeout(PATIENCE).map_err(|_| format!("the server never said {text:?}"))?;
            if entry.1.contains(text) {
                return Ok(entry);
            }
        }
    }
}

/// Reads the log at once, so that the server never waits for a reader; keeps what tells its state.
fn follow(process: &mut Process) -> Result<Receiver<(Instant, String)>> {
    let stderr = process.child().stderr.take().ok_or("standard error is not piped")?;
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
            let tells = line.contains("Listening on ") || line.contains("read ahead");
            if tells && send.send((Instant::now(), line)).is_err() {
                return;
            }
        }
    });
    Ok(receive)
}

/// Builds the server as it is released, beside this benchmark.
pub(crate) fn build() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // TARGET/release/deps/load-…
    let release = own.ancestors().nth(2).ok_or("the benchmark lies in no target directory")?;
    let target = release.parent().ok_or("the benchmark lies in no target directory")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--release", "--quiet", "--package", "hashserv", "--target-dir"]).arg(target);
    if !command.status()?.success() {
        return Err("the server cannot be built".into());
    }
    Ok(release.join("hashserv"))
}
