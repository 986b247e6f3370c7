//! The programs under test.

use std::ffi::OsString;
use std::path::PathBuf;

/// The path of a program of this workspace, which lies beside the running test: `target/PROFILE/NAME`.
///
/// # Panics
///
/// Where it has not been built.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("a target directory");
    let path = profile.join(name);
    assert!(
        path.exists(),
        "{} is missing: run `scripts/test`, or `cargo build --bins` before the tests",
        path.display()
    );
    path
}

/// The variables of the environment for the programs: those of the tests, without what sets the programs up
/// for whoever runs them, and without proxies.
pub(crate) fn environment() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        let name = name.as_encoded_bytes().to_ascii_uppercase();
        !name.starts_with(b"HASHSERVER_") && !name.ends_with(b"_PROXY")
    })
}
