//! Room on the disk: little of it, and giving it back.

use std::path::{Path, PathBuf};
use std::process::Command;

use hashserv_storage::{Column, Report, Storage};
use hashserv_storage_sql::{DatabaseName, Options};

use super::support::{METHOD, Place, in_time, report, task};

/// Bytes of text that a report carries.
const TEXT: usize = 40_000;

/// A file system of its own, as small as a test wants it.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where the system does not let this process mount one.
    #[expect(clippy::print_stderr, reason = "whoever runs the tests should see that one was skipped")]
    fn mount(mebibytes: usize) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(directory.path());
        let is_mounted = mount.output().is_ok_and(|output| output.status.success());
        if !is_mounted {
            eprintln!("SKIPPED: this test needs a small tmpfs, which only root may mount");
        }
        is_mounted.then_some(SmallDisk(directory))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("hashserv.db")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

async fn open(path: &Path) -> std::sync::Arc<dyn Storage> {
    hashserv_storage_sql::open(&DatabaseName::sqlite(path), &Options::default())
        .await
        .expect("the database opens")
}

fn long_report(number: usize) -> Report {
    let name = format!("t{number}");
    let mut report = report(&name, &name, 1);
    report.details.outhash_siginfo = Some("x".repeat(TEXT));
    report
}

/// Reports until the disk is full; returns how many were acknowledged.
async fn fill(storage: &dyn Storage, first: usize) -> usize {
    for number in first..100_000 {
        if storage.report(vec![long_report(number)]).await.is_err() {
            return number;
        }
    }
    panic!("the disk is never full");
}

/// The log must neither take the room that the database needs, nor stay in the way once it is full.
#[tokio::test]
async fn full_disk_holds_data_and_not_the_log() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let storage = open(&disk.path()).await;
    let acknowledged = in_time(fill(&*storage, 0)).await;
    assert!(acknowledged * TEXT > 12 << 20, "{acknowledged} reports fit");

    // A short one finds room where a long one found none, or is refused; the server goes on either way.
    let _ = storage.report(vec![report("short", "short", 1)]).await;
    let conditions = [(Column::Taskhash, "t0".to_owned())].into_iter().collect();
    assert_eq!(storage.remove(&conditions).await.unwrap(), 2);
    in_time(storage.close()).await;
    assert!(!disk.path().with_extension("db-wal").exists(), "the log is moved when the storage is closed");

    let storage = open(&disk.path()).await;
    for number in 1..acknowledged {
        let taskhash = format!("t{number}");
        assert!(storage.unihashes(&[task(&taskhash)]).await.unwrap()[0].is_some(), "{taskhash}");
    }
    in_time(storage.close()).await;
}

#[tokio::test]
async fn disk_that_gets_room_again_is_written_again() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let ballast = disk.path().with_file_name("ballast");
    std::fs::write(&ballast, vec![0; 8 << 20]).unwrap();
    let storage = open(&disk.path()).await;
    let acknowledged = in_time(fill(&*storage, 0)).await;
    std::fs::remove_file(&ballast).unwrap();
    let more = in_time(fill(&*storage, acknowledged)).await;
    assert!(more > acknowledged + 100, "{acknowledged} reports, then {more}");
    in_time(storage.close()).await;
}

/// One that does not fit at all leaves room for others.
#[tokio::test]
async fn report_that_is_too_large_for_the_disk_is_refused_alone() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let storage = open(&disk.path()).await;
    let mut huge = report("huge", "huge", 1);
    huge.details.outhash_siginfo = Some("x".repeat(14 << 20));
    in_time(storage.report(vec![huge])).await.unwrap_err();
    for number in 0..100 {
        in_time(storage.report(vec![long_report(number)])).await.unwrap();
    }
    in_time(storage.close()).await;
}

#[tokio::test]
async fn file_becomes_smaller_after_large_removals() {
    let place = Place::new();
    let storage = place.open().await;
    for number in 0..200 {
        storage.report(vec![long_report(number)]).await.unwrap();
    }
    let pages = async || place.query("SELECT cast(page_count AS TEXT) FROM pragma_page_count").await;
    let before: usize = pages().await[0].parse().unwrap();
    let conditions = [(Column::Method, METHOD.to_owned())].into_iter().collect();
    storage.remove(&conditions).await.unwrap();
    let shrunk = async {
        loop {
            let after: usize = pages().await[0].parse().unwrap();
            if after < before / 2 {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    in_time(shrunk).await;
    storage.report(vec![report("t1", "o1", 1)]).await.unwrap();
    assert_eq!(place.query("PRAGMA integrity_check").await, ["ok"]);
}
