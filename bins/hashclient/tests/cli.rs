//! What hashclient does without a server.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::time::Duration;

use assert_cmd::Command;
use tempfile::TempDir;

struct Outcome {
    status: i32,
    stdout: String,
    stderr: String,
}

/// Runs hashclient in an empty directory that is its home too.
fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    finish(Command::cargo_bin("hashclient").unwrap(), arguments, environment)
}

/// The same by a shell that redirects its output.
fn run_redirected(redirection: &str, arguments: &[&str]) -> Outcome {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("exec \"$0\" \"$@\" {redirection}")]);
    shell.arg(assert_cmd::cargo::cargo_bin("hashclient"));
    finish(shell, arguments, &[])
}

fn finish(mut command: Command, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
    let home = TempDir::new().unwrap();
    command.timeout(Duration::from_secs(60));
    command.current_dir(home.path()).env_clear().env("HOME", home.path());
    command.env("HASHSERVER_RETRY_FOR", "0");
    command.args(arguments).envs(environment.iter().copied());
    let output = command.output().unwrap();
    Outcome {
        status: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

#[test]
fn help_tells_of_addresses_and_exit_status() {
    let outcome = run(&["--help"], &[]);
    assert_eq!(outcome.status, 0);
    for text in [
        "unix://PATH",
        "Exit status:",
        "HASHSERVER_TOKEN",
        "default login USER",
        "gc-mark-stream",
        "unihash-exists",
        "a report that was not recorded",
    ] {
        assert!(outcome.stdout.contains(text), "{text}: {}", outcome.stdout);
    }
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 110), "{}", outcome.stdout);
}

#[test]
fn no_token_is_in_the_help() {
    let outcome = run(&["--help"], &[("HASHSERVER_TOKEN", "secret"), ("HASHSERVER_LOGIN", "u")]);
    assert!(!outcome.stdout.contains("secret"));
}

#[test]
fn usage_errors_have_status_2() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["get", "method"],
        &["get", "--stdin", "--json"],
        &["get", "--stdin", "method", "taskhash"],
        &["--log", "loud", "ping"],
        &["--login", "u", "ping"],
        &["--password", "t", "ping"],
        &["--address", "localhost", "ping"],
        &["ping", "-n", "0"],
        &["clean-unused", "-5"],
        &["--retry-for", "-1", "ping"],
        &["gc-mark", "M"],
        &["remove", "-w", "method"],
        &["remove", "-w", "method", "a", "-w", "method", "b"],
        &["stress", "--clients", "10000", "--requests", "1000000"],
    ] {
        let outcome = run(arguments, &[]);
        assert_eq!(outcome.status, 2, "{arguments:?}: {}", outcome.stderr);
        assert!(!outcome.stderr.is_empty() && outcome.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn wrong_values_are_named_with_their_options() {
    for (arguments, told) in [
        (&["--log", "loud", "ping"][..], "invalid value 'loud' for '--log <LEVEL>'"),
        (&["--log", "loud", "ping"], "possible values: ERROR, WARNING, INFO, DEBUG, TRACE"),
        (&["--address", "localhost", "ping"], "invalid value 'localhost' for '--address <ADDRESS>'"),
        (
            &["--retry-for", "5x", "ping"],
            "invalid value '5x' for '--retry-for <TIME>': expected a time such as",
        ),
        (&["--retry-for", "25h", "ping"], "for '--retry-for <TIME>': at most a day"),
        (&["clean-unused", "soon"], "invalid value 'soon' for '<TIME>'"),
        (&["gc-mark", "M"], "--where <KEY> <VALUE>"),
    ] {
        let outcome = run(arguments, &[]);
        assert_eq!(outcome.status, 2, "{arguments:?}");
        assert!(outcome.stderr.contains(told), "{arguments:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_column_without_a_value_or_given_twice_is_named() {
    let outcome = run(&["remove", "-w", "method"], &[]);
    assert!(outcome.stderr.contains("'--where <KEY> <VALUE>'"), "{}", outcome.stderr);
    let outcome = run(&["gc-mark", "M", "-w", "method", "a", "-w", "method", "b"], &[]);
    assert_eq!(outcome.status, 2);
    assert_eq!(outcome.stderr, "ERROR: the column 'method' is given twice\n");
}

#[test]
fn a_server_that_cannot_be_reached_is_one_clear_line() {
    let outcome = run(&["ping"], &[]);
    assert_eq!(outcome.status, 1);
    assert!(
        outcome.stderr.starts_with("ERROR: cannot connect to unix://./hashserver.sock: No such file"),
        "{}",
        outcome.stderr
    );
    assert_eq!(outcome.stderr.lines().count(), 1);
    let outcome = run(&["ping"], &[("HASHSERVER_ADDRESS", "unix://elsewhere.sock")]);
    assert!(outcome.stderr.contains("unix://elsewhere.sock"), "{}", outcome.stderr);
}

#[test]
fn netrc_that_cannot_be_read_is_a_warning() {
    let missing = [("NETRC", "/nowhere/netrc")];
    let outcome = run(&["ping"], &missing);
    assert_eq!(outcome.status, 1);
    let (warning, error) = outcome.stderr.split_once('\n').unwrap();
    assert!(
        warning.starts_with("WARNING: /nowhere/netrc: cannot read the netrc file: No such file"),
        "{warning}"
    );
    assert!(error.starts_with("ERROR: cannot connect"), "{error}");
    assert!(run(&["--log", "ERROR", "ping"], &missing).stderr.starts_with("ERROR: cannot connect"));
    assert!(run(&["--no-netrc", "ping"], &missing).stderr.starts_with("ERROR: cannot connect"));
    let login = [("NETRC", "/nowhere/netrc"), ("HASHSERVER_LOGIN", "u"), ("HASHSERVER_TOKEN", "t")];
    assert!(run(&["ping"], &login).stderr.starts_with("ERROR: cannot connect"), "a login makes it needless");
}

#[test]
fn an_empty_variable_means_none() {
    let empty = [
        ("HASHSERVER_ADDRESS", ""),
        ("HASHSERVER_LOGIN", ""),
        ("HASHSERVER_TOKEN", ""),
        ("HASHSERVER_TLS_CA", ""),
        ("NETRC", ""),
    ];
    let outcome = run(&["ping"], &empty);
    assert!(outcome.stderr.contains("cannot connect"), "{}", outcome.stderr);
    let outcome = run(&["-l", "u", "ping"], &empty);
    assert_eq!(outcome.stderr, "ERROR: a login needs a token: set HASHSERVER_TOKEN, or give --password\n");
}

#[test]
fn a_password_that_would_not_be_used_is_an_error() {
    let no_login = "ERROR: --password needs a login: set HASHSERVER_LOGIN, or give --login\n";
    assert_eq!(run(&["--no-netrc", "--password", "t", "ping"], &[]).stderr, no_login);
    assert!(run(&["ping"], &[("HASHSERVER_TOKEN", "t")]).stderr.contains("cannot connect"));
    let login = [("HASHSERVER_LOGIN", "u")];
    assert!(run(&["--password", "t", "ping"], &login).stderr.contains("cannot connect"));
}

#[test]
fn what_is_wrong_in_a_netrc_is_told_without_its_secrets() {
    let directory = TempDir::new().unwrap();
    let netrc = directory.path().join("netrc");
    std::fs::write(&netrc, "machine a\nlogin u pasword secret\n").unwrap();
    let outcome = run(&["ping"], &[("NETRC", netrc.to_str().unwrap())]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.contains("netrc, line 2: "), "{}", outcome.stderr);
    assert!(!outcome.stderr.contains("secret"));
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let hash = "0".repeat(64);
    let arguments = ["report", "--method", "m", "--taskhash", &hash, "--outhash", &hash, "--unihash", &hash];
    let outcome = run(&[&arguments[..], &["--outhash-siginfo-file", "missing"]].concat(), &[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.starts_with("ERROR: cannot read missing: No such file"), "{}", outcome.stderr);
}

#[test]
fn removing_nothing_asks_nobody() {
    let outcome = run(&["remove"], &[]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "No query specified\n"));
}

#[test]
fn token_is_not_asked_for_where_standard_output_is_closed() {
    for command in [&["new-user", "-u", "alice", "@read"][..], &["refresh-token", "-u", "alice"]] {
        let outcome = run_redirected(">&-", command);
        assert_eq!(outcome.status, 1, "{command:?}");
        assert!(outcome.stderr.starts_with("ERROR: standard output is closed"), "{}", outcome.stderr);
        let wanted = run_redirected(">/dev/null", command);
        assert!(wanted.stderr.starts_with("ERROR: cannot connect"), "{}", wanted.stderr);
    }
}

#[test]
fn help_that_cannot_be_written_is_one_line_on_standard_error() {
    for argument in ["--help", "--version"] {
        let outcome = run_redirected(">/dev/full", &[argument]);
        assert_eq!(outcome.status, 1, "{argument}");
        assert!(
            outcome.stderr.starts_with("ERROR: cannot write to standard output: No space"),
            "{}",
            outcome.stderr
        );
        assert_eq!(outcome.stderr.lines().count(), 1);
    }
}

#[test]
fn no_password_of_an_address_is_printed() {
    let outcome = run(&["--address", "wss://user:secret@h:1", "ping"], &[]);
    assert_eq!(outcome.status, 2);
    assert!(outcome.stderr.contains("a user name does not belong here"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("wss://***@h:1") && !outcome.stderr.contains("secret"),
        "{}",
        outcome.stderr
    );
    let outcome = run(&["ping"], &[("HASHSERVER_ADDRESS", "ws://user:secret@h")]);
    assert!(!outcome.stderr.contains("secret"), "{}", outcome.stderr);
}

#[test]
fn address_that_only_a_server_can_have_is_a_usage_error() {
    for (address, reason) in [
        (":80", "the host is missing"),
        ("wss://", "the host is missing"),
        ("127.0.0.1:0", "no server has the port 0"),
        ("ws://localhost:0/x", "no server has the port 0"),
    ] {
        let outcome = run(&["--address", address, "ping"], &[]);
        assert_eq!(outcome.status, 2, "{address}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(reason), "{}", outcome.stderr);
    }
}

#[test]
fn proxy_that_cannot_be_used_is_a_usage_error() {
    for proxy in ["socks5://127.0.0.1:1", "http://"] {
        let outcome = run(&["--address", "wss://example.invalid", "ping"], &[("https_proxy", proxy)]);
        assert_eq!(outcome.status, 2, "{proxy}: {}", outcome.stderr);
        assert!(outcome.stderr.contains("https_proxy"), "{}", outcome.stderr);
    }
}

#[test]
fn authorities_that_cannot_be_read_are_named_with_their_option() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("wss://{}", listener.local_addr().unwrap());
    let outcome = run(&["--address", &address, "--tls-ca", "/nonexist", "ping"], &[]);
    assert_eq!(outcome.status, 1);
    assert!(outcome.stderr.starts_with("ERROR: --tls-ca: /nonexist: "), "{}", outcome.stderr);
}

#[test]
fn netrc_that_is_a_pipe_is_not_waited_for() {
    let directory = TempDir::new().unwrap();
    let pipe = directory.path().join("netrc");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let outcome = run(&["ping"], &[("NETRC", pipe.to_str().unwrap())]);
    assert!(outcome.stderr.contains("the netrc file is not a regular file"), "{}", outcome.stderr);
}

#[test]
fn file_without_end_is_refused() {
    let hash = "0".repeat(64);
    let arguments = ["report", "--method", "m", "--taskhash", &hash, "--outhash", &hash, "--unihash", &hash];
    let outcome = run(&[&arguments[..], &["--outhash-siginfo-file", "/dev/zero"]].concat(), &[]);
    assert_eq!(
        (outcome.status, outcome.stderr.as_str()),
        (1, "ERROR: /dev/zero has more than 67108864 bytes\n")
    );
}
