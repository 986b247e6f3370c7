//! Settings as options and as variables of the environment: what one refuses the other refuses too.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Output};

use tempfile::TempDir;

/// Options with their variables, and values that are wrong or absurd.
const SETTINGS: [(&str, &str, &[&str]); 25] = [
    ("--bind", "HASHSERVER_BIND", &["nowhere", "http://localhost:1", "localhost:65536", "[::g]:1"]),
    (
        "--database",
        "HASHSERVER_DB",
        &[
            "mysql://localhost/x",
            "sqlite:///:memory:",
            "postgresql:/u:secret@h/x",
            "postgresql://u:secret@h:99999/x",
            "postgresql://u@h/x?sslmode=bogus",
            "postgresql://u@h/x?ssl=foo",
            "postgresql://u@h/x?unknown=1",
            "postgresql://u@a,b/x",
        ],
    ),
    ("--db-username", "HASHSERVER_DB_USERNAME", &[]),
    ("--db-password", "HASHSERVER_DB_PASSWORD", &[]),
    ("--db-connect-timeout", "HASHSERVER_DB_CONNECT_TIMEOUT", &["x", "-1", "1e300", "inf", "NaN", "5d"]),
    ("--db-pool-size", "HASHSERVER_DB_POOL_SIZE", &["x", "4", "101", "99999999999999999999"]),
    ("--log", "HASHSERVER_LOG_LEVEL", &["LOUD"]),
    ("--upstream", "HASHSERVER_UPSTREAM", &["nowhere", "unix://./hashserver.sock", ":1", "ws://", "h:0"]),
    ("--upstream-user", "HASHSERVER_UPSTREAM_USER", &["me"]),
    ("--upstream-token", "HASHSERVER_UPSTREAM_TOKEN", &["secret"]),
    ("--upstream-token-file", "HASHSERVER_UPSTREAM_TOKEN_FILE", &[]),
    ("--upstream-timeout", "HASHSERVER_UPSTREAM_TIMEOUT", &["x", "0", "-1", "1e300"]),
    ("--upstream-negative-ttl", "HASHSERVER_UPSTREAM_NEGATIVE_TTL", &["x", "-1", "86401"]),
    ("--upstream-ca", "HASHSERVER_UPSTREAM_CA", &[]),
    ("--anon-perms", "HASHSERVER_ANON_PERMS", &["@all", "@user-admin", "read"]),
    ("--admin-user", "HASHSERVER_ADMIN_USER", &["admin"]),
    ("--admin-password", "HASHSERVER_ADMIN_PASSWORD", &["secret"]),
    ("--tls-cert", "HASHSERVER_TLS_CERT", &["cert.pem"]),
    ("--tls-key", "HASHSERVER_TLS_KEY", &["key.pem"]),
    ("--tls-dir", "HASHSERVER_TLS_DIR", &[]),
    ("--synchronous", "HASHSERVER_SYNCHRONOUS", &["off"]),
    ("--cache-entries", "HASHSERVER_CACHE_ENTRIES", &["x", "-1", "999999999999", "18446744073709551615"]),
    ("--max-connections", "HASHSERVER_MAX_CONNECTIONS", &["x", "0", "1000001", "18446744073709551615"]),
    ("--max-connections-per-peer", "HASHSERVER_MAX_CONNECTIONS_PER_PEER", &["x", "0", "1000001"]),
    ("--max-message", "HASHSERVER_MAX_MESSAGE", &["x", "65535", "1073741825", "18446744073709551615"]),
];

/// A variable whose option is a flag.
const FLAG: &str = "HASHSERVER_READ_ONLY";

/// A directory where the default address is taken by a file, so that every server ends there at last.
fn directory() -> TempDir {
    let directory = TempDir::new().unwrap();
    std::fs::write(directory.path().join("hashserver.sock"), "").unwrap();
    directory
}

/// Runs hashserv in the directory with no variables but these.
fn run(directory: &TempDir, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashserv"));
    command.current_dir(directory.path()).env_clear().args(arguments);
    command.envs(environment.iter().copied()).output().unwrap()
}

/// Gives the setting a value, once as an option and once as a variable, with others that it needs.
fn run_both(option: &str, variable: &str, value: &str, needed: &[(&str, &str)]) -> [Output; 2] {
    let as_option = run(&directory(), &[&format!("{option}={value}")], needed);
    let as_variable = run(&directory(), &[], &[&[(variable, value)], needed].concat());
    [as_option, as_variable]
}

/// The words of the help that begin like this.
fn of_help(beginning: &str) -> BTreeSet<String> {
    let help = run(&directory(), &["--help"], &[]).stdout;
    let help = String::from_utf8(help).unwrap();
    let words = help.split(|character: char| !character.is_ascii_alphanumeric() && !"_-".contains(character));
    words.filter(|word| word.starts_with(beginning) && word.len() > 2).map(str::to_owned).collect()
}

/// The first line without the words before the cause.
fn cause(output: &Output) -> String {
    let printed = String::from_utf8(output.stderr.clone()).unwrap();
    let line = printed.lines().next().unwrap_or_default();
    let cause = ["hashserv: ", "error: "].iter().find_map(|prefix| line.strip_prefix(prefix));
    cause.unwrap_or_else(|| panic!("{printed}")).to_owned()
}

#[test]
fn the_table_has_every_option_and_variable() {
    let variables: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.1).chain([FLAG]).collect();
    assert_eq!(of_help("HASHSERVER_"), variables.into_iter().map(str::to_owned).collect());
    let without_value = ["--read-only", "--reuseport", "--help", "--version"];
    let options: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.0).chain(without_value).collect();
    assert_eq!(of_help("--"), options.into_iter().map(str::to_owned).collect());
}

#[test]
fn an_empty_value_means_the_default() {
    for (option, variable, _) in SETTINGS {
        for output in run_both(option, variable, "", &[]) {
            let printed = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{option}: {printed}");
            assert!(
                printed.starts_with("hashserv: cannot listen on unix://./hashserver.sock: "),
                "{printed}"
            );
        }
    }
    let output = run(&directory(), &[], &[(FLAG, "")]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_empty_option_wins_over_its_variable() {
    for (option, variable, wrong) in SETTINGS.iter().filter(|setting| !setting.2.is_empty()) {
        let output = run(&directory(), &[option, ""], &[(variable, wrong[0])]);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{option}: {printed}");
    }
}

#[test]
fn a_wrong_value_has_status_2_and_the_same_cause_wherever_it_stands() {
    for (option, variable, wrong) in SETTINGS {
        // What belongs to an upstream is of no meaning without one.
        let is_for_upstream = ["--upstream-user", "--upstream-token"].contains(&option);
        let needed = if is_for_upstream { &[("HASHSERVER_UPSTREAM", "127.0.0.1:9")][..] } else { &[] };
        for value in wrong {
            let outputs = run_both(option, variable, value, needed);
            let statuses = outputs.each_ref().map(|output| output.status.code());
            let causes = outputs.each_ref().map(cause);
            assert_eq!(statuses, [Some(2); 2], "{option}={value}: {causes:?}");
            assert_eq!(causes[0], causes[1]);
            // A half of a pair stands in the usage that follows.
            let printed = outputs.map(|output| String::from_utf8(output.stderr).unwrap());
            assert!(printed.iter().all(|text| text.contains(option)), "{option}={value}: {printed:?}");
            assert!(!printed.concat().contains("secret"), "{printed:?}");
        }
    }
}

#[test]
fn variable_with_a_wrong_value_is_named() {
    for (option, variable, wrong) in [
        ("--max-connections", "HASHSERVER_MAX_CONNECTIONS", "x"),
        ("--db-connect-timeout", "HASHSERVER_DB_CONNECT_TIMEOUT", "x"),
        ("--log", "HASHSERVER_LOG_LEVEL", "LOUD"),
        ("--bind", "HASHSERVER_BIND", "nowhere"),
        ("--read-only", FLAG, "maybe"),
    ] {
        let output = run(&directory(), &[], &[(variable, wrong)]);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.contains(option) && printed.contains(variable), "{printed}");
        if option != "--read-only" {
            let output = run(&directory(), &[option, wrong], &[(variable, wrong)]);
            let printed = String::from_utf8(output.stderr).unwrap();
            assert!(!printed.contains(variable), "the option wins: {printed}");
        }
    }
}

#[test]
fn password_in_an_address_is_masked() {
    for (value, shown) in [("wss://user:secret@h:1", "wss://***@h:1"), ("user:secret@h", "***@h")] {
        for output in [
            run_both("--upstream", "HASHSERVER_UPSTREAM", value, &[]),
            run_both("--bind", "HASHSERVER_BIND", value, &[]),
        ]
        .concat()
        {
            assert!(
                cause(&output).starts_with(&format!("invalid value '{shown}' for ")),
                "{}",
                cause(&output)
            );
        }
    }
}

#[test]
fn list_of_addresses_without_any_has_status_2() {
    for list in [",", " ", " , "] {
        let output = run(&directory(), &[], &[("HASHSERVER_BIND", list)]);
        assert_eq!(output.status.code(), Some(2), "{list:?}");
        assert!(cause(&output).contains("HASHSERVER_BIND names no address"));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_hashserv"));
    let list = OsStr::from_bytes(b"unix:///tmp/\xFF");
    let directory = directory();
    command.current_dir(directory.path()).env_clear().env("HASHSERVER_BIND", list);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(cause(&output).contains("HASHSERVER_BIND is not UTF-8"));
}

#[test]
fn flag_in_the_environment_is_a_clear_yes_or_a_clear_no() {
    // A read-only server has no upstream.
    let run_with = |value| run(&directory(), &["-u", "127.0.0.1:9"], &[(FLAG, value)]);
    for value in ["1", "true", "YES", "On"] {
        let output = run_with(value);
        assert_eq!(output.status.code(), Some(2), "{value}");
        assert!(cause(&output).starts_with("Read-only hashserv cannot pull"), "{value}");
    }
    for value in ["0", "False", "no", "OFF", ""] {
        assert_eq!(run_with(value).status.code(), Some(1), "{value}");
    }
    for value in ["n", "f", "y", "t", "2", "nein", " "] {
        let output = run_with(value);
        assert_eq!(output.status.code(), Some(2), "{value}");
        assert!(cause(&output).contains("--read-only"), "{value}");
    }
}

#[test]
fn number_of_worker_threads_that_makes_no_sense_has_status_2() {
    for value in ["0", "x", "-1", "1025", "99999999999999999999"] {
        let output = run(&directory(), &[], &[("TOKIO_WORKER_THREADS", value)]);
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{printed}");
        assert!(printed.starts_with("hashserv: TOKIO_WORKER_THREADS: "), "{printed}");
        assert_eq!(printed.lines().count(), 1, "{printed}");
    }
    for value in ["", "1", "3"] {
        let output = run(&directory(), &[], &[("TOKIO_WORKER_THREADS", value)]);
        assert_eq!(output.status.code(), Some(1), "{value}");
    }
}

#[test]
fn help_has_no_torn_lines() {
    for width in [40, 80, 100] {
        let help = run(&directory(), &["--help"], &[("COLUMNS", &width.to_string())]).stdout;
        let help = String::from_utf8(help).unwrap();
        let (_, end) = help.split_once("An option wins over").unwrap();
        for paragraph in end.split("\n\n") {
            let lines: Vec<_> = paragraph.trim_end().lines().collect();
            for pair in lines.windows(2).skip(1) {
                let word = pair[1].split(' ').next().unwrap();
                let length = pair[0].len() + 1 + word.len();
                assert!(pair[0].len() <= width && length > width, "{width}: {pair:?}");
            }
        }
    }
}

#[test]
fn file_that_cannot_be_used_is_told_with_its_option() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for (arguments, told) in [
        (&["--bind=wss://127.0.0.1:0", "--tls-dir=/nonexistent/x"][..], "--tls-dir: "),
        (&["--database", &path("")], "is a directory; name a file in it"),
        (&["-r", "--database=/nonexistent/x.db"], "start the server once where it may write"),
        (
            &["-r", "--admin-user=a", "--admin-password=b", "--database=/nonexistent/x.db"],
            "--admin-user: to keep the administrator",
        ),
    ] {
        let output = run(&directory, arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(cause(&output).contains(told), "{}", cause(&output));
    }
}

#[test]
fn key_of_another_certificate_has_status_2() {
    let (one, other) = (directory(), directory());
    for directory in [&one, &other] {
        // Makes a certificate, then finds the second address taken by a file.
        run(directory, &["--bind=wss://127.0.0.1:0", "--bind=unix://./hashserver.sock"], &[]);
    }
    let key = other.path().join("hashserv-key.pem");
    let pair = ["--tls-cert=hashserv-cert.pem", "--tls-key", key.to_str().unwrap()];
    let output = run(&one, &[&["--bind=wss://127.0.0.1:0"][..], &pair].concat(), &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(cause(&output).contains("does not belong to the certificate"), "{}", cause(&output));
}

#[test]
fn a_file_that_a_setting_names_may_be_there_at_the_next_start() {
    for (option, variable, needed) in [
        ("--database", "HASHSERVER_DB", &[][..]),
        (
            "--upstream-token-file",
            "HASHSERVER_UPSTREAM_TOKEN_FILE",
            &[("HASHSERVER_UPSTREAM", "127.0.0.1:9"), ("HASHSERVER_UPSTREAM_USER", "me")],
        ),
        ("--upstream-ca", "HASHSERVER_UPSTREAM_CA", &[("HASHSERVER_UPSTREAM", "127.0.0.1:9")]),
        (
            "--tls-cert",
            "HASHSERVER_TLS_CERT",
            &[("HASHSERVER_TLS_KEY", "key.pem"), ("HASHSERVER_BIND", "wss://127.0.0.1:0")],
        ),
    ] {
        let outputs = run_both(option, variable, "/nonexistent/file", needed);
        let causes = outputs.each_ref().map(cause);
        assert!(causes[0].contains("/nonexistent/file"), "{option}: {causes:?}");
        assert_eq!(causes[0], causes[1]);
        assert_eq!(outputs.map(|output| output.status.code()), [Some(1); 2], "{option}: {causes:?}");
    }
}

#[test]
fn a_command_line_that_makes_no_sense_has_status_2() {
    let environment = [("HASHSERVER_DB_POOL_SIZE", "x")];
    for environment in [&[][..], &environment] {
        assert_eq!(run(&directory(), &["--no-such-option"], environment).status.code(), Some(2));
        assert_eq!(run(&directory(), &["--help"], environment).status.code(), Some(0));
    }
}
