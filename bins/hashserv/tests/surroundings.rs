//! Surroundings that fail: a standard error that cannot be written, and limits of the system.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest time that anything may take before a test gives up.
const DEADLINE: Duration = Duration::from_secs(60);

/// A server in a directory of its own, which is killed when this is dropped.
struct Server {
    directory: TempDir,
    child: Child,
}

/// A connection of a client, line by line.
struct Client(BufReader<UnixStream>);

impl Server {
    /// Starts one after the commands of a shell, with this standard error.
    fn start(commands: &str, arguments: &[&str], stderr: Stdio) -> Self {
        let directory = TempDir::new().unwrap();
        let script = format!("{commands}; exec \"$0\" \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, env!("CARGO_BIN_EXE_hashserv")])
            .args(arguments)
            .env_clear()
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Server { directory, child }
    }

    /// A connection after its handshake, as soon as the server listens.
    fn connect(&mut self) -> Client {
        let path = self.directory.path().join("hashserver.sock");
        let stream = eventually(|| {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {ended:?}");
            UnixStream::connect(&path).ok()
        });
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        client.0.get_mut().write_all(b"OEHASHEQUIV 1.1\n\n").unwrap();
        client
    }

    fn ended(&mut self) -> ExitStatus {
        eventually(|| self.child.try_wait().unwrap())
    }

    fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.ended()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Client {
    fn ask(&mut self, request: &str) -> String {
        self.0.get_mut().write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        self.0.read_line(&mut reply).unwrap();
        reply
    }
}

fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Every standard error that cannot be written, with the command that brings it about.
fn unwritable() -> [(&'static str, &'static str, Stdio); 3] {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = File::options().write(true).open("/dev/full").unwrap();
    [
        ("closed", "exec 2>&-", Stdio::null()),
        ("full", ":", full.into()),
        ("without a reader", ":", writer.into()),
    ]
}

#[test]
fn a_standard_error_that_cannot_be_written_does_not_end_a_server() {
    for (what, commands, stderr) in unwritable() {
        let mut server = Server::start(commands, &["--log", "TRACE"], stderr);
        // Each connection is told in the log, by the task that serves it.
        for _ in 0..3 {
            assert_eq!(server.connect().ask(r#"{"ping": {}}"#), "{\"alive\":true}\n", "{what}");
        }
        kill_process(Pid::from_child(&server.child), Signal::HUP).unwrap();
        assert_eq!(server.connect().ask(r#"{"ping": {}}"#), "{\"alive\":true}\n", "{what}");
        assert_eq!(server.stop().code(), Some(0), "{what}");
    }
}

#[test]
fn a_reader_of_the_log_that_never_reads_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start(":", &["--log", "TRACE"], writer.into());
    // Several times what a pipe holds.
    let mut client = server.connect();
    for number in 0..400 {
        let request = format!(r#"{{"unknown-{number}-{}": {{}}}}"#, "x".repeat(1000));
        assert!(client.ask(&request).contains("invoke-error"), "{number}");
        client = server.connect();
        assert_eq!(client.ask(r#"{"ping": {}}"#), "{\"alive\":true}\n", "{number}");
    }
    assert_eq!(server.stop().code(), Some(0));
    drop(reader);
}

#[test]
fn a_start_that_fails_has_its_status_whatever_standard_error_does() {
    for (arguments, status) in [
        (&["--bind", "nowhere"][..], 2),
        (&["--no-such-option"], 2),
        (&["--bind", "unix:///nonexistent/socket"], 1),
    ] {
        for (what, commands, stderr) in unwritable() {
            let mut server = Server::start(commands, arguments, stderr);
            assert_eq!(server.ended().code(), Some(status), "{what}: {arguments:?}");
        }
    }
}

#[test]
fn a_file_that_may_not_grow_is_an_error_and_no_end_by_a_signal() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start("ulimit -f 0", &[], writer.into());
    assert_eq!(server.ended().code(), Some(1));
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut reader, &mut printed).unwrap();
    assert!(printed.starts_with("hashserv: cannot open the database ./hashserver.db: "), "{printed}");
}

#[test]
fn a_log_that_may_not_grow_does_not_end_a_server_by_a_signal() {
    let log = tempfile::tempfile().unwrap();
    let mut server = Server::start("ulimit -f 0", &["--bind", "nowhere"], log.into());
    assert_eq!(server.ended().code(), Some(2));
}

#[test]
fn signals_that_come_together_are_one_request_to_stop() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start(":", &["--log", "INFO"], writer.into());
    let mut client = server.connect();
    assert_eq!(client.ask(r#"{"ping": {}}"#), "{\"alive\":true}\n");
    // The first request of a stream keeps the server from ending at once.
    client.0.get_mut().write_all(br#"{"pi"#).unwrap();
    for signal in [Signal::TERM, Signal::INT, Signal::TERM, Signal::QUIT] {
        kill_process(Pid::from_child(&server.child), signal).unwrap();
    }
    assert_eq!(server.ended().code(), Some(0));
    assert!(!server.directory.path().join("hashserver.sock").exists());
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut reader, &mut printed).unwrap();
    assert!(!printed.contains("second signal"), "{printed}");
}

#[test]
fn second_signal_ends_a_busy_server_without_its_socket_file() {
    // An upstream that never answers keeps a request waiting.
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap().to_string();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start(":", &["-u", &address, "--upstream-timeout", "1h"], writer.into());
    let mut client = server.connect();
    assert_eq!(client.ask(r#"{"ping": {}}"#), "{\"alive\":true}\n");
    client.0.get_mut().write_all(b"{\"get\": {\"method\": \"m\", \"taskhash\": \"t\"}}\n").unwrap();
    let process = Pid::from_child(&server.child);
    let status = eventually(|| {
        // Those of the first second count as one.
        let _ = kill_process(process, Signal::TERM);
        server.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(1));
    assert!(!server.directory.path().join("hashserver.sock").exists());
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut reader, &mut printed).unwrap();
    assert!(printed.contains("hashserv: stopped at once by a second signal"), "{printed}");
}

#[test]
fn a_few_open_files_serve_several_clients() {
    let mut server = Server::start("ulimit -n 80", &[], Stdio::null());
    let mut clients: Vec<Client> = (0..16).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let hash = format!("{number:064}");
        let report = format!(
            r#"{{"report": {{"method": "m", "taskhash": "{hash}", "outhash": "{hash}", "unihash": "{hash}"}}}}"#
        );
        assert!(client.ask(&report).contains(&hash));
    }
    for client in &mut clients {
        for request in ["get-db-usage", "gc-status", "get-stats"] {
            let reply = client.ask(&format!(r#"{{"{request}": {{}}}}"#));
            assert!(reply.starts_with('{') && !reply.contains("invoke-error"), "{request}: {reply}");
        }
    }
}

#[test]
fn too_few_open_files_keep_it_from_starting() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut server = Server::start("ulimit -n 79", &[], writer.into());
    assert_eq!(server.ended().code(), Some(1));
    let mut printed = String::new();
    std::io::Read::read_to_string(&mut reader, &mut printed).unwrap();
    let told = "hashserv: the system allows 79 open files, and the server needs 80 at least: raise the limit";
    assert!(printed.starts_with(told), "{printed}");
}
