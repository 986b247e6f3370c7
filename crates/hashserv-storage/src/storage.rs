//! The trait that databases implement.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, StorageError, StoredUnihash,
    Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};

/// How many items callers should pass to one call at most; a longer slice is split by the caller.
///
/// Larger batches bring no more speed, and hold up others.
pub const MAX_BATCH: usize = 1024;

/// A database of hash equivalences.
///
/// Calls take batches, because a database does a hundred things at once for little more than it does one.
/// Results stand in the order of what was asked.
///
/// # Guarantees
///
/// - **Durable**: a call that writes returns once its writes are committed.
/// - **Atomic**: [`report`](Storage::report) and the like are one transaction each; what they decide holds
///   also against other processes on the same database.
/// - **Fresh**: a call sees everything that was committed before it began, by this process or another.
/// - **Cancellation**: every method may be dropped at any time. A write that was begun is then done in full
///   or not at all, and which is not known. Only [`remove`](Storage::remove),
///   [`clean_unused`](Storage::clean_unused) and [`sweep`](Storage::sweep), which may be about millions of
///   rows, take many transactions: they may go on when their caller has gone, and end between two of them
///   where the database fails or is closed.
///
/// # Errors
///
/// Every method may fail with [`StorageError`]; those that write fail with [`StorageError::ReadOnly`] where
/// the database was opened only to be read. Nothing has changed then.
#[async_trait]
pub trait Storage: fmt::Debug + Send + Sync + 'static {
    /// The unihashes that tasks have.
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError>;

    /// Whether any task has these unihashes.
    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError>;

    /// The unihashes that were recorded last, newest first: at most `limit` of those that are older than the
    /// one with the id `before`, or of all. Empty where there are no further ones.
    async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError>;

    /// The oldest report of a task that has a unihash.
    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError>;

    /// The oldest report of an output whose task has a unihash.
    async fn unified_outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<UnifiedRow>, StorageError>;

    /// The oldest report of an output, whether its task has a unihash or not.
    async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError>;

    /// Records reports, and tells the unihash that each task then has.
    ///
    /// The reports are taken one after the other, all in one transaction. For each: the report is added
    /// unless one of the same (method, taskhash, outhash) is there, which then stays as it is. A task
    /// without a unihash gets that of the oldest other task with the same (method, outhash) that has one,
    /// else the one that the report brings; a task that has a unihash keeps it. New unihashes carry the
    /// current mark.
    ///
    /// A report that would be older than one of its output that is there counts as made at the same time, so
    /// the oldest stays the oldest: a unihash that was acknowledged goes on to be given to others.
    async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, StorageError>;

    /// Gives unihashes to tasks that have none, and tells the unihash that each task then has.
    ///
    /// New unihashes carry the current mark.
    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError>;

    /// Removes the rows that match from the tables of unihashes and outhashes, and tells how many they were.
    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError>;

    /// Removes reports whose task has no unihash, and tells how many they were: all of them, or those made
    /// before a point in time.
    async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError>;

    /// Marks unihashes, and tells for each request how many matched it (marked before or not).
    ///
    /// The requests are taken one after the other. Those that name a unihash, or a method and a taskhash, are marked
    /// in one transaction as far as they follow each other; others may take many, and end between two of them where
    /// the database fails or the caller goes away.
    async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError>;

    /// How far the current garbage collection is.
    async fn gc_status(&self) -> Result<GcStatus, StorageError>;

    /// Removes the unihashes that do not carry the mark, and ends the collection.
    async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError>;

    /// How many rows each table has.
    async fn usage(&self) -> Result<Vec<TableUsage>, StorageError>;

    /// The account of that name.
    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError>;

    /// All accounts, by name.
    async fn users(&self) -> Result<Vec<UserRecord>, StorageError>;

    /// Adds an account; `false` where the name is taken.
    async fn create_user(&self, user: NewUser) -> Result<bool, StorageError>;

    /// Adds an account, or gives the existing one this token and these permissions.
    async fn put_user(&self, user: NewUser) -> Result<(), StorageError>;

    /// Sets the permissions of the account with this id; `false` where there is none.
    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError>;

    /// Sets the token of the account with this id; `false` where there is none.
    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError>;

    /// Removes the account with this id; `false` where there is none.
    async fn delete_user(&self, id: i64) -> Result<bool, StorageError>;

    /// A number that changes when another process may have removed unihashes.
    ///
    /// Whoever keeps unihashes in memory must drop them then. A removal by a server of this kind is told within
    /// 200 ms. Where other programs do not announce theirs (PostgreSQL), those are told within some seconds,
    /// and a process that is cut off from the database is told once it has noticed that, within 6 seconds.
    /// Removals through this value need not be told here, as their caller knows of them.
    fn foreign_removals(&self) -> watch::Receiver<u64>;

    /// Returns once the database was taken away for good, as a file is that was deleted or replaced while in use.
    ///
    /// Writes fail with [`StorageError::Lost`] from then on, and what was acknowledged shortly before may be lost. A
    /// server should end, to be started again with what is there now. Never returns where that cannot be told.
    async fn lost(&self) {
        std::future::pending::<()>().await;
    }

    /// Finishes what was begun and closes the database. Later calls fail with [`StorageError::Closed`].
    async fn close(&self);
}
