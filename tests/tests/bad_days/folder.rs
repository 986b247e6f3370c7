//! The folder of a day, of which nothing is left, however the day ends.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use hashserv_tests::binary;

/// Size of the disk that can be filled.
const SMALL_DISK: &str = "size=160m";

/// A folder, with a guard that ends the servers, unmounts the small disk and removes all when this value is dropped
/// or this process ends in whatever way.
pub(crate) struct Folder {
    path: PathBuf,
    has_small_disk: bool,
    /// Learns the ids of processes by its standard input, and acts when that is closed.
    guard: Mutex<Child>,
}

impl Folder {
    /// Makes a folder; with a small disk at `db` where the user may mount one.
    pub(crate) fn new(with_small_disk: bool) -> Self {
        let directory = tempfile::Builder::new().prefix("hashserv-bad-day-").tempdir_in("/tmp");
        let path = directory.expect("a folder").keep();
        let guard = Mutex::new(guard(&path));
        let mut folder = Folder { path, has_small_disk: false, guard };
        std::fs::create_dir(folder.disk()).expect("a folder");
        folder.has_small_disk = with_small_disk && folder.mount();
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the database.
    pub(crate) fn disk(&self) -> PathBuf {
        self.path.join("db")
    }

    /// Whether the folder of the database is a small disk of its own.
    pub(crate) fn has_small_disk(&self) -> bool {
        self.has_small_disk
    }

    /// Has the guard end this server, too.
    pub(crate) fn guard(&self, server: u32) {
        let mut guard = self.guard.lock().expect("no panic");
        let input = guard.stdin.as_mut().expect("the guard's standard input");
        writeln!(input, "{server}").expect("the guard runs");
    }

    fn mount(&self) -> bool {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SMALL_DISK, "hashserv-bad-day"]).arg(self.disk());
        command.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Ok(mut guard) = self.guard.lock() {
            drop(guard.stdin.take());
            drop(guard.wait());
        }
    }
}

/// Waits for the end of this process. A signal from the keyboard, which all processes of a terminal get, must not end
/// it before. A process that has got the number of a server that is no more is spared.
fn guard(folder: &Path) -> Child {
    const SCRIPT: &str = "trap '' INT TERM HUP QUIT; cd /; \
        while read -r pid; do pids=\"$pids $pid\"; done; \
        for pid in $pids; do \
            case \"$(readlink \"/proc/$pid/exe\")\" in \"$2\"*) kill -KILL \"$pid\";; esac; \
        done; \
        umount -l \"$1/db\"; rm -rf \"$1\"";
    let mut command = Command::new("sh");
    command.args(["-c", SCRIPT, "sh"]).arg(folder).arg(binary("hashserv"));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sh runs")
}
