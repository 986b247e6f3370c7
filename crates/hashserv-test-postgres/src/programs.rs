//! Finding and running the programs of PostgreSQL.

use std::path::{Path, PathBuf};
use std::process::Command;

const ADVICE: &str = "PostgreSQL is not installed, which these tests need, even where \
    HASHSERV_TEST_POSTGRES_URL names a server: run scripts/install-postgres (Debian: apt install postgresql, \
    Fedora: dnf install postgresql-server), or leave the tests out with HASHSERV_TEST_SKIP_POSTGRES=1";

/// The directory with `postgres`, `initdb` and their like: that of the newest version where there are several.
pub(crate) fn server_programs() -> PathBuf {
    candidates()
        .into_iter()
        .find(|directory| directory.join("initdb").is_file())
        .unwrap_or_else(|| panic!("{ADVICE}"))
}

/// The client that runs SQL.
pub(crate) fn psql() -> PathBuf {
    candidates()
        .into_iter()
        .map(|directory| directory.join("psql"))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!("psql is missing: {ADVICE}");
        })
}

fn candidates() -> Vec<PathBuf> {
    let asked =
        Command::new("pg_config").arg("--bindir").output().ok().filter(|output| output.status.success());
    let configured = asked.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    configured.into_iter().chain(debian_versions()).chain(std::env::split_paths(&on_path)).collect()
}

/// Debian keeps the programs of the server apart by version, and not in `PATH`.
fn debian_versions() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(Path::new("/usr/lib/postgresql")).into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_unstable();
    versions.into_iter().rev().map(|(_, path)| path).collect()
}

/// Runs a command, with its output in the message where it fails.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
