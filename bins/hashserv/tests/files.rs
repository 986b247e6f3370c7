//! Files that are taken away from a running server, or must not grow.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Far more than it takes.
const LIMIT: Duration = Duration::from_secs(60);

/// A server that is killed when the test ends.
struct Server {
    process: Child,
    address: String,
    directory: TempDir,
}

impl Server {
    /// Starts a server by way of a shell, which may set limits first.
    fn start(limits: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let command = format!(
            "{limits} exec '{}' --bind 127.0.0.1:0 --bind unix://./x.sock --database hashserv.db --log ERROR",
            env!("CARGO_BIN_EXE_hashserv")
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &command]).current_dir(directory.path()).env_clear().stderr(Stdio::piped());
        let mut process = shell.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("Listening on ").expect(&line).to_owned();
        // What else is told must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Server { process, address, directory }
    }

    /// Sends one request; returns the reply, which is empty where the server closed without one.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        write!(stream, "OEHASHEQUIV 1.1\n\n{request}\n").unwrap();
        let mut reply = String::new();
        // A connection that is reset has no reply either.
        let _ = BufReader::new(stream).read_line(&mut reply);
        reply.trim_end().to_owned()
    }

    fn report(&self, number: usize, text: usize) -> String {
        let (hash, text) = ("ab".repeat(32), "x".repeat(text));
        let report = format!(
            r#"{{"report": {{"method": "m", "taskhash": "t{number}", "outhash": "o{number}", "unihash": "{hash}", "outhash_siginfo": "{text}"}}}}"#
        );
        self.ask(&report)
    }

    /// Waits until the server has ended; returns its status.
    fn wait(&mut self) -> Option<i32> {
        let begin = Instant::now();
        while begin.elapsed() < LIMIT {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server goes on");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn server_whose_database_is_deleted_ends_with_status_1() {
    let mut server = Server::start("");
    assert!(server.report(1, 10).contains("unihash"));
    let mut idle = TcpStream::connect(&server.address).unwrap();
    idle.write_all(b"OEHASHEQUIV 1.1\n\n").unwrap();
    // They take time to be dropped, in which the socket file must not be left.
    let others: Vec<_> = (0..400).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    assert!(server.ask(r#"{"ping": {}}"#).contains("alive"), "they are accepted");
    std::fs::remove_file(server.directory.path().join("hashserv.db")).unwrap();
    assert_eq!(server.wait(), Some(1));
    drop(others);
    let mut rest = Vec::new();
    let _ = idle.read_to_end(&mut rest);
    assert_eq!(rest, b"", "connections are closed without a reply");
    assert!(!server.directory.path().join("x.sock").exists(), "the socket file is removed");
}

/// The limit is in blocks of 512 bytes.
#[test]
fn limit_for_the_size_of_files_does_not_end_the_server() {
    let mut server = Server::start("ulimit -f 4096;");
    let mut number = 0;
    while number < 200 && server.report(number, 30_000).contains("unihash") {
        number += 1;
    }
    assert!((10..200).contains(&number), "the limit is reached: {number} reports");
    assert_eq!(server.process.try_wait().unwrap(), None, "the server goes on");
    assert_eq!(server.ask(r#"{"ping": {}}"#), r#"{"alive":true}"#);
}
