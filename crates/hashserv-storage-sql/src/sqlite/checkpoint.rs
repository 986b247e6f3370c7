//! Moving the write-ahead log into the database, beside the writer.
//!
//! A checkpoint waits for the disk. Done by the writer, as SQLite does it by itself, it holds up every report for
//! as long; on its own connection it holds up nobody, as the writer goes on at the end of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::closing::Closing;

/// After how many records the log is moved. A record changes some six pages, many of them again and again: the more
/// records, the fewer pages are moved for each.
const DUE_RECORDS: usize = 8000;
/// When the log is moved at the latest after something was written.
const DUE_TIME: Duration = Duration::from_secs(5);

/// Counts what was written since the last checkpoint, to tell when the next is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<Counter>);

#[derive(Debug, Default)]
struct Counter {
    records: AtomicUsize,
    /// Told at the first record, and when many have come together.
    changed: Notify,
}

impl Written {
    /// Counts records that were committed.
    pub(crate) fn add(&self, records: usize) {
        let before = self.0.records.fetch_add(records, Ordering::Relaxed);
        if before == 0 || (before < DUE_RECORDS && before + records >= DUE_RECORDS) {
            self.0.changed.notify_one();
        }
    }

    /// Waits until a checkpoint is due.
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
    }
}

/// Starts the task that moves the log; it ends when `closing` turns true.
pub(crate) fn start(
    mut connection: SqliteConnection,
    written: Written,
    mut closing: Closing,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = closing.begun() => break,
                () = written.due() => {
                    written.0.records.store(0, Ordering::Relaxed);
                    move_log(&mut connection).await;
                }
            }
        }
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, "closing the connection for checkpoints failed");
        }
    })
}

/// Moves what can be moved without waiting for readers or the writer.
async fn move_log(connection: &mut SqliteConnection) {
    if let Err(error) = sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(connection).await {
        // The writer does it when the log has grown long, and tells whom it concerns.
        tracing::debug!(%error, "a checkpoint failed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_checkpoint_is_due_after_many_records_or_some_time() {
        let written = Written::default();
        let begin = tokio::time::Instant::now();
        written.add(DUE_RECORDS);
        written.due().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);
        written.0.records.store(0, Ordering::Relaxed);
        written.add(1);
        written.due().await;
        assert!(begin.elapsed() >= DUE_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_due_while_nothing_is_written() {
        let written = Written::default();
        assert!(timeout(10 * DUE_TIME, written.due()).await.is_err());
    }
}
