//! What variables of the environment do to the start of hashserv.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use tempfile::TempDir;

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

/// The names of all variables, as the help tells them.
fn variables() -> BTreeSet<String> {
    let help = run(&directory(), &["--help"], &[]).stdout;
    let help = String::from_utf8(help).unwrap();
    let words = help.split(|character: char| !character.is_ascii_uppercase() && character != '_');
    words.filter(|word| word.starts_with("HASHSERVER_")).map(str::to_owned).collect()
}

#[test]
fn an_empty_variable_means_none() {
    let names = variables();
    assert!(names.len() >= 25, "{names:?}");
    for name in names {
        let directory = directory();
        let output = run(&directory, &[], &[(&name, "")]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {told}");
        assert!(told.starts_with("hashserv: cannot listen on unix://./hashserver.sock: "), "{name}: {told}");
        assert!(directory.path().join("hashserver.db").exists(), "{name}");
    }
}

#[test]
fn a_variable_that_makes_no_sense_is_told_in_one_line() {
    for (name, value, told) in [
        ("HASHSERVER_DB_POOL_SIZE", "x", "the environment: invalid value 'x' for '--db-pool-size <N>': "),
        ("HASHSERVER_DB_POOL_SIZE", "101", "--db-pool-size must be from 5 to 100"),
        ("HASHSERVER_TLS_CERT", "x.pem", "--tls-cert and --tls-key belong together"),
    ] {
        let output = run(&directory(), &[], &[(name, value)]);
        let printed = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), printed.lines().count()), (Some(1), 1), "{name}: {printed}");
        assert!(printed.starts_with(&format!("hashserv: {told}")), "{name}: {printed}");
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
