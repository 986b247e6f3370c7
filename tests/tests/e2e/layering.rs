//! The rules of the architecture: which crate may know which, and what source files look like.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use hashserv_tests::Crate;
use serde_json::Value;

/// Which of our crates a crate may use.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("hashserv-log", &[]),
    ("hashserv-protocol", &[]),
    ("hashserv-transport", &["hashserv-protocol"]),
    ("hashserv-storage", &[]),
    ("hashserv-storage-sql", &["hashserv-storage"]),
    ("hashserv-client", &["hashserv-log", "hashserv-protocol", "hashserv-transport"]),
    ("hashserv-service", &["hashserv-log", "hashserv-storage"]),
    (
        "hashserv-server",
        &["hashserv-log", "hashserv-protocol", "hashserv-service", "hashserv-storage", "hashserv-transport"],
    ),
    (
        "hashserv-upstream",
        &[
            "hashserv-client",
            "hashserv-log",
            "hashserv-protocol",
            "hashserv-service",
            "hashserv-storage",
            "hashserv-transport",
        ],
    ),
    (
        "hashserv",
        &[
            "hashserv-log",
            "hashserv-protocol",
            "hashserv-server",
            "hashserv-service",
            "hashserv-storage",
            "hashserv-storage-sql",
            "hashserv-transport",
            "hashserv-upstream",
        ],
    ),
    ("hashclient", &["hashserv-client", "hashserv-log", "hashserv-protocol"]),
    ("hashserv-test-postgres", &[]),
    ("hashserv-tests", &["hashserv-test-postgres"]),
];

/// What a crate, tests included, must not know of.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("hashserv-protocol", &["tokio", "tokio-util", "socket2"]),
    ("hashserv-storage", &["serde", "serde_json", "rustls", "socket2", "tokio-tungstenite"]),
    ("hashserv-service", &["serde", "serde_json", "rustls", "socket2", "tokio-rustls", "tokio-tungstenite"]),
    (
        "hashserv-server",
        &["hashserv-client", "hashserv-upstream", "rustls", "socket2", "tokio-rustls", "tokio-tungstenite"],
    ),
    ("hashserv-upstream", &["rustls", "socket2", "tokio-rustls", "tokio-tungstenite"]),
    ("hashserv-tests", &["clap"]),
];

/// Crates that have nothing to do with the network.
const WITHOUT_NETWORK: [&str; 5] =
    ["hashserv-log", "hashserv-protocol", "hashserv-storage", "hashserv-storage-sql", "hashserv-service"];

/// What only some crates may name; these tests may too, to speak WebSocket.
const RESERVED: [(&str, &[&str]); 4] = [
    ("sqlx", &["hashserv-storage-sql"]),
    ("clap", &["hashserv", "hashclient"]),
    ("tracing-subscriber", &["hashserv", "hashclient"]),
    ("tokio-tungstenite", &["hashserv-transport", "hashserv-tests"]),
];

/// Files that are tables, and may be longer than others.
const TABLES: [&str; 0] = [];

const MAX_LINES: usize = 400;

#[test]
fn crates_use_only_those_below_them() {
    for package in packages() {
        let name = name(&package);
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| *known == name).unwrap_or_else(|| {
            panic!("{name} is not part of the architecture: say in this test what it may use");
        });
        for dependency in dependencies(&package).filter(|dependency| dependency["kind"].is_null()) {
            let used = self::name(dependency);
            let is_ours = ALLOWED.iter().any(|(known, _)| *known == used);
            assert!(!is_ours || allowed.contains(&used), "{name} must not use {used}");
        }
    }
}

#[test]
fn protocol_and_storage_never_see_each_other() {
    let packages = packages();
    for (one, other) in [
        ("hashserv-protocol", "storage"),
        ("hashserv-storage", "protocol"),
        ("hashserv-storage-sql", "protocol"),
    ] {
        let package = packages.iter().find(|package| name(package) == one).expect("a package");
        let seen = dependencies(package).find(|dependency| name(dependency).contains(other));
        assert!(seen.is_none(), "{one} uses {seen:?}, if only in tests");
    }
}

#[test]
fn crates_know_nothing_of_what_is_not_their_affair() {
    for package in packages() {
        let name = name(&package);
        let forbidden: Vec<&str> = FORBIDDEN
            .iter()
            .filter(|(known, _)| *known == name)
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        for dependency in dependencies(&package) {
            let used = self::name(dependency);
            assert!(!forbidden.contains(&used), "{name} must not use {used}");
            let reserved = RESERVED.iter().find(|(known, _)| *known == used);
            assert!(reserved.is_none_or(|(_, users)| users.contains(&name)), "{name} must not use {used}");
            let features = dependency["features"].as_array().expect("features");
            let uses_network =
                used == "tokio" && features.iter().any(|feature| feature == "net" || feature == "full");
            assert!(!uses_network || !WITHOUT_NETWORK.contains(&name), "{name} must not use the network");
        }
    }
}

#[test]
fn clients_make_no_certificates() {
    const FEATURE: &str = "self-signed";
    let packages = packages();
    let used_by = |wanted: &str| {
        let package = packages.iter().find(|package| name(package) == wanted).expect("a package");
        dependencies(package).filter(|dependency| dependency["kind"].is_null()).collect::<Vec<_>>()
    };
    let transport = used_by("hashserv-transport");
    let maker = transport.iter().find(|dependency| name(dependency) == "rcgen").expect("rcgen");
    assert_eq!(maker["optional"], true, "only servers need rcgen");
    for client in ["hashserv-client", "hashclient"] {
        for dependency in used_by(client) {
            let features = dependency["features"].as_array().expect("features");
            assert!(
                !features.iter().any(|feature| feature == FEATURE),
                "{client} must not make certificates"
            );
        }
    }
}

#[test]
fn every_crate_inherits_the_lints() {
    for package in packages() {
        let manifest = package["manifest_path"].as_str().expect("a path");
        let text = std::fs::read_to_string(manifest).expect("a manifest");
        assert!(text.contains("[lints]\nworkspace = true"), "{manifest} does not inherit the lints");
    }
}

#[test]
fn source_files_are_short_and_named_after_their_modules() {
    let root = root();
    let mut seen = BTreeSet::new();
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
        for folder in ["src", "tests"] {
            source_files(&manifest.with_file_name(folder), &mut seen);
        }
    }
    assert!(seen.len() > 100, "only {} files were found", seen.len());
    for path in seen {
        let shown = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        assert!(!shown.ends_with("/mod.rs"), "{shown}: a module has the name of its file");
        let lines = std::fs::read_to_string(&path).expect("a source file").lines().count();
        assert!(
            lines <= MAX_LINES || TABLES.contains(&shown.as_str()),
            "{shown} has {lines} lines: split it"
        );
    }
}

#[test]
fn no_files_of_a_crate_use_each_other_in_a_circle() {
    for package in packages() {
        let manifest = PathBuf::from(package["manifest_path"].as_str().expect("a path"));
        let source = manifest.with_file_name("src");
        let roots = ["lib.rs", "main.rs"].map(|name| source.join(name));
        for root in roots.iter().filter(|root| root.exists()) {
            let circles = Crate::read(root).circles();
            assert!(
                circles.is_empty(),
                "{} has files that use each other in a circle: {circles:#?}",
                name(&package)
            );
        }
    }
}

fn source_files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            source_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.insert(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace").to_owned()
}

/// The packages of the workspace, as cargo describes them.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo metadata");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    serde_json::from_value(metadata["packages"].take()).expect("packages")
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().expect("dependencies").iter()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().expect("a name")
}
