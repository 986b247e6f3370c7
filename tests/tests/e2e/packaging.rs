//! The files of `packaging/`, held against what the server says of itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use hashserv_tests::binary;

/// Files that a server needs at most besides its connections: its own, and the largest pool of a database.
const OTHER_FILES: u64 = 64 + 100;

#[test]
fn the_settings_of_the_service_are_those_of_the_server() {
    let settings = settings();
    let variables = variables();
    assert!(variables.len() > 20, "only {variables:?} were found");
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&settings), names(&variables));
    for (name, default) in variables.iter().filter(|(_, default)| !default.is_empty()) {
        assert_eq!(&settings[name], default, "the default of {name}");
    }
}

#[test]
fn the_service_sets_what_the_server_knows() {
    let variables = variables();
    for setting in of_unit("Environment") {
        let (name, _) = setting.split_once('=').expect("a variable with a value");
        assert!(variables.contains_key(name), "{name} is no variable of the server");
    }
    let command = of_unit("ExecStart");
    assert_eq!(command, ["/usr/local/bin/hashserv"], "an option would win over the file of settings");
}

#[test]
fn the_service_may_open_a_file_for_every_connection() {
    let connections: u64 = variables()["HASHSERVER_MAX_CONNECTIONS"].parse().expect("a number");
    let files: u64 = of_unit("LimitNOFILE")[0].parse().expect("a number");
    assert!(files >= connections + OTHER_FILES, "{files} files for {connections} connections");
}

#[test]
fn a_wrong_setting_does_not_restart_the_service_for_ever() {
    assert_eq!(of_unit("Restart"), ["on-failure"]);
    assert_eq!(of_unit("RestartPreventExitStatus"), ["2"]);
    let output = Command::new(binary("hashserv")).env_clear().env("HASHSERVER_LOG_LEVEL", "LOUD").output();
    assert_eq!(output.expect("an end").status.code(), Some(2));
}

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The values that the unit gives a key.
fn of_unit(key: &str) -> Vec<String> {
    let unit = file("hashserv.service");
    let lines = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    lines.map(str::to_owned).collect()
}

/// The variables of the file of settings, each with the value that stands behind it. All are commented out.
fn settings() -> BTreeMap<String, String> {
    let text = file("hashserv.env");
    let settings = text.lines().filter_map(|line| line.strip_prefix("#HASHSERVER_")?.split_once('='));
    settings.map(|(name, value)| (format!("HASHSERVER_{name}"), value.to_owned())).collect()
}

/// The variables that `--help` tells, each with its default; empty where it has none, or one in words.
fn variables() -> BTreeMap<String, String> {
    let help = Command::new(binary("hashserv")).arg("--help").env_clear().output().expect("the help");
    let help = String::from_utf8(help.stdout).expect("text");
    let words: Vec<&str> = help.split_whitespace().collect();
    let mut variables = BTreeMap::new();
    for at in (0..words.len()).filter(|at| words[*at].starts_with("HASHSERVER_")) {
        let name = words[at].trim_end_matches(|end: char| !end.is_ascii_uppercase());
        let default = match words[at + 1..] {
            ["[default:", value, ..] => value.trim_end_matches(']'),
            _ => "",
        };
        variables.insert(name.to_owned(), default.to_owned());
    }
    variables
}
