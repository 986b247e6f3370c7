//! Running the client program.

use std::process::Stdio;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use crate::binaries::environment;
use crate::wait::DEADLINE;
use crate::{TestServer, binary};

/// What a run of the client program came to.
#[derive(Debug)]
pub struct ClientRun {
    /// Its exit status.
    pub status: Option<i32>,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub errors: String,
}

impl ClientRun {
    /// The standard output of a run that must have succeeded.
    ///
    /// # Panics
    ///
    /// When it failed.
    #[must_use]
    pub fn succeeded(self) -> String {
        assert_eq!(self.status, Some(0), "{}{}", self.output, self.errors);
        self.output
    }

    /// The standard error of a run that must have failed with status 1.
    ///
    /// # Panics
    ///
    /// When it did not.
    #[must_use]
    pub fn failed(self) -> String {
        assert_eq!(self.status, Some(1), "{}{}", self.output, self.errors);
        self.errors
    }
}

/// The client program, told of the server, with no login of the machine's user, and without retries after a failure
/// to connect.
#[must_use]
pub fn hashclient(server: &TestServer) -> Command {
    let netrc = server.directory().join("netrc");
    if !netrc.exists() {
        std::fs::write(&netrc, "").expect("a netrc file");
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&netrc, private).expect("permissions");
    }
    let mut command = Command::new(binary("hashclient"));
    command
        .env_clear()
        .envs(environment())
        .env("HASHSERVER_ADDRESS", server.address())
        .env("HASHSERVER_TLS_CA", server.authority())
        .env("HASHSERVER_RETRY_FOR", "0")
        .env("NETRC", netrc)
        .current_dir(server.directory())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    if !server.authority().exists() {
        command.env_remove("HASHSERVER_TLS_CA");
    }
    command
}

/// Runs the client program with these arguments and this standard input.
///
/// # Panics
///
/// When it does not end in time.
pub async fn run_hashclient(server: &TestServer, arguments: &[&str], input: &str) -> ClientRun {
    let mut child = hashclient(server).args(arguments).spawn().expect("a running client");
    let mut stdin = child.stdin.take().expect("standard input");
    let input = input.as_bytes().to_vec();
    // Written beside the reading: the pipe may fill up. The client need not read it all.
    let writing = tokio::spawn(async move { stdin.write_all(&input).await });
    let output = timeout(DEADLINE, child.wait_with_output()).await.expect("the client ends").expect("output");
    drop(writing.await);
    ClientRun {
        status: output.status.code(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
