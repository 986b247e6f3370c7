//! Redis, the yardstick of look-ups.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::Result;
use crate::keys::{Kind, append_hash};
use crate::process::Process;
use crate::wire::{Wire, append_task};

/// How many keys are written at a time.
const BATCH: u64 = 1_000;

pub(crate) struct Redis {
    process: Process,
    socket: PathBuf,
}

impl Redis {
    /// Starts it with the first so many keys in memory; `None` where it is not installed, which is told.
    pub(crate) fn start(socket: PathBuf, keys: u64) -> Result<Option<Self>> {
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let process = match Process::start(command.stdout(Stdio::null())) {
            Ok(process) => process,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!(
                    "redis-server is not installed, so there are no ratios to it; on Debian and Ubuntu:"
                );
                eprintln!("    apt-get install redis-server");
                return Ok(None);
            }
            Err(error) => return Err(format!("redis-server cannot be started: {error}").into()),
        };
        wait_for(&socket)?;
        load(&socket, keys)?;
        Ok(Some(Redis { process, socket }))
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }
}

fn wait_for(socket: &Path) -> Result<()> {
    let begin = Instant::now();
    while let Err(error) = UnixStream::connect(socket) {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(format!("redis-server does not listen: {error}").into());
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn load(socket: &Path, keys: u64) -> Result<()> {
    let mut wire = Wire::connect(socket)?;
    let mut request = Vec::new();
    for from in (0..keys).step_by(BATCH as usize) {
        let numbers = from..keys.min(from + BATCH);
        request.clear();
        for number in numbers.clone() {
            request.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$92\r\n");
            append_task(number, &mut request);
            request.extend_from_slice(b"\r\n$64\r\n");
            append_hash(Kind::Unihash, number, &mut request);
            request.extend_from_slice(b"\r\n");
        }
        wire.send(&request)?;
        for _ in numbers {
            if wire.line()? != b"+OK\r" {
                return Err("redis-server does not take a key".into());
            }
        }
    }
    Ok(())
}
