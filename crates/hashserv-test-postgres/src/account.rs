//! Running programs as a user that PostgreSQL accepts.

use std::ffi::OsStr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// The user to run as instead of root, which PostgreSQL refuses.
struct Account {
    uid: u32,
    gid: u32,
}

static ACCOUNT: LazyLock<Option<Account>> = LazyLock::new(|| {
    if id("-u", None)? != 0 {
        return None;
    }
    ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| Some(Account { uid: id("-u", Some(name))?, gid: id("-g", Some(name))? }))
});

fn id(what: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(what).args(user).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A command that runs the program as a user that may.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let Some(account) = &*ACCOUNT else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={}", account.uid)).arg(format!("--regid={}", account.gid));
    command.arg("--clear-groups").arg("--").arg(program);
    command
}

/// Gives that user a directory.
pub(crate) fn give(directory: &Path) -> std::io::Result<()> {
    match &*ACCOUNT {
        Some(account) => chown(directory, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}
