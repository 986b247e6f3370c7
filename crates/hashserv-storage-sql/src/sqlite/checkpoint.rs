//! Moving the write-ahead log into the database, beside the writer.
//!
//! A checkpoint waits for the disk. Done by the writer, as SQLite does it by itself, it holds up every report for
//! as long; on its own connection most of it holds up nobody, as the writer goes on at the end of the log.
//!
//! The log begins anew only when all of it has been moved, which a busy writer would never let happen. That matters:
//! the pages of a file that grows cost the writer more than twice as much as those of a file that is written again. So
//! the writer pauses while the last few are moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, MutexGuard, Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::closing::Closing;

/// After how many records the log is moved. A record changes some ten pages, many of them again and again: the more
/// records, the fewer pages are moved for each.
const DUE_RECORDS: usize = 16_000;
/// When the log is moved at the latest after something was written.
const DUE_TIME: Duration = Duration::from_secs(5);
/// How many times what was written meanwhile is moved beside the writer, before it has to pause.
const PASSES: usize = 3;
/// So few pages are moved quickly: the writer may as well pause.
const FEW_PAGES: i64 = 4096;
/// For how long the writer pauses at most; on a slow disk it goes on then, and the log grows until the next time.
const MAX_PAUSE: Duration = Duration::from_millis(300);

/// What the writer and the checkpoints know of each other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// How many records were written since the last checkpoint.
    records: AtomicUsize,
    /// Told at the first record, and when many have come together.
    changed: Notify,
    writing: Mutex<()>,
}

impl Log {
    /// Waits until the writer may write, as it may while it keeps the guard.
    pub(crate) async fn writing(&self) -> MutexGuard<'_, ()> {
        self.0.writing.lock().await
    }

    /// Counts records that were committed.
    pub(crate) fn add(&self, records: usize) {
        let before = self.0.records.fetch_add(records, Ordering::Relaxed);
        if before == 0 || (before < DUE_RECORDS && before + records >= DUE_RECORDS) {
            self.0.changed.notify_one();
        }
    }

    #[cfg(test)]
    pub(crate) fn records(&self) -> usize {
        self.0.records.load(Ordering::Relaxed)
    }

    /// Waits until a checkpoint is due, and begins to count anew.
    async fn due(&self) {
        while self.0.records.load(Ordering::Relaxed) == 0 {
            self.0.changed.notified().await;
        }
        let many = async {
            while self.0.records.load(Ordering::Relaxed) < DUE_RECORDS {
                self.0.changed.notified().await;
            }
        };
        // Either way the checkpoint is due.
        let _ = timeout(DUE_TIME, many).await;
        self.0.records.store(0, Ordering::Relaxed);
    }
}

/// Starts the task that moves the log; it ends when `closing` or `lost` turns true.
pub(crate) fn start(
    mut connection: SqliteConnection,
    log: Log,
    mut closing: Closing,
    mut lost: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = closing.begun() => break,
                // Others may write to the file by now, and know nothing of a log that was deleted.
                () = turned_true(&mut lost) => break,
                () = log.due() => {
                    if let Err(error) = move_log(&mut connection, &log).await {
                        // The writer does it when the log has grown long, and tells whom it concerns.
                        tracing::debug!(%error, "a checkpoint failed");
                    }
                }
            }
        }
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing the connection for checkpoints failed");
        }
    })
}

/// Returns when the value is true, or nobody can change it any more.
async fn turned_true(value: &mut watch::Receiver<bool>) {
    let _ = value.wait_for(|value| *value).await;
}

/// Moves all of the log, unless readers need what was there before, or the disk is too slow.
async fn move_log(connection: &mut SqliteConnection, log: &Log) -> Result<(), sqlx::Error> {
    let mut moved = 0;
    for _ in 0..PASSES {
        let before = std::mem::replace(&mut moved, move_written(connection).await?);
        if moved - before <= FEW_PAGES {
            break;
        }
    }
    let pause = log.writing().await;
    let mut rest = std::pin::pin!(move_written(connection));
    if let Ok(result) = timeout(MAX_PAUSE, &mut rest).await {
        return result.map(drop);
    }
    drop(pause);
    rest.await.map(drop)
}

/// Moves what has been written, without waiting for readers or the writer; tells how many pages of the log are moved.
async fn move_written(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let (_busy, _pages, moved): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)").fetch_one(connection).await?;
    Ok(moved)
}

/// Moves all of the log into the database and gives its room on the disk back, unless others need the log; returns
/// true if all of it was moved.
///
/// That takes no further room but for pages by which the database grows.
pub(crate) async fn empty_log(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let (busy, _pages, _moved): (i64, i64, i64) =
        sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(connection).await?;
    Ok(busy == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_is_due_after_many_records_or_some_time() {
        let log = Log::default();
        let begin = tokio::time::Instant::now();
        log.add(DUE_RECORDS);
        log.due().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        log.add(1);
        log.due().await;
        assert!(begin.elapsed() >= DUE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_due_while_nothing_is_written() {
        let log = Log::default();
        assert!(timeout(10 * DUE_TIME, log.due()).await.is_err());
    }

    #[tokio::test]
    async fn the_log_begins_anew_after_a_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let options = sqlx::sqlite::SqliteConnectOptions::new()
            .filename(dir.path().join("x.db"))
            .create_if_missing(true)
            .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
            .pragma("wal_autocheckpoint", "0");
        let mut writer = SqliteConnection::connect_with(&options).await.unwrap();
        let mut mover = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query("CREATE TABLE t (x BLOB)").execute(&mut writer).await.unwrap();
        let insert = || sqlx::query("INSERT INTO t VALUES (randomblob(100000))");
        insert().execute(&mut writer).await.unwrap();
        let long = move_written(&mut mover).await.unwrap();
        move_log(&mut mover, &Log::default()).await.unwrap();
        sqlx::query("INSERT INTO t VALUES (1)").execute(&mut writer).await.unwrap();
        let short = move_written(&mut mover).await.unwrap();
        assert!(long > 20 && short < 10, "{long} pages, then {short}");
    }

    #[tokio::test]
    async fn a_checkpoint_waits_for_the_transaction_that_is_written() {
        let mut mover = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let log = Log::default();
        let writing = log.writing().await;
        let mut moving = std::pin::pin!(move_log(&mut mover, &log));
        assert!(timeout(Duration::from_millis(50), &mut moving).await.is_err());
        drop(writing);
        moving.await.unwrap();
    }
}
