//! A database that writes only when it is let, or not at all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use hashserv_storage::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage, StorageError,
    StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use tokio::sync::{Semaphore, watch};

use crate::support::storage;

/// Hands everything on to a database, but for what tests of the upstream have written.
#[derive(Debug)]
pub(crate) struct Hindered {
    storage: Arc<dyn Storage>,
    /// How many further writes are let through.
    writes: Semaphore,
    full: AtomicBool,
}

impl Hindered {
    /// An empty database that lets no write through.
    pub(crate) async fn open(path: &Path) -> Arc<Self> {
        let storage = storage(path).await;
        Arc::new(Hindered { storage, writes: Semaphore::new(0), full: AtomicBool::new(false) })
    }

    /// Lets so many further writes through.
    pub(crate) fn let_through(&self, writes: usize) {
        self.writes.add_permits(writes);
    }

    /// Has writes fail from now on.
    pub(crate) fn fill_up(&self) {
        self.full.store(true, Ordering::SeqCst);
    }

    async fn may_write(&self) -> Result<(), StorageError> {
        self.writes.acquire().await.unwrap().forget();
        if self.full.load(Ordering::SeqCst) { Err(StorageError::backend("no space left")) } else { Ok(()) }
    }
}

#[async_trait]
impl Storage for Hindered {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        self.storage.unihashes(keys).await
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        self.storage.unihashes_exist(unihashes).await
    }

    async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        self.storage.newest_unihashes(before, limit).await
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.storage.task_row(key).await
    }

    async fn unified_outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.storage.unified_outhash_row(key).await
    }

    async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        self.storage.outhash_row(key).await
    }

    async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, StorageError> {
        self.may_write().await?;
        self.storage.report(reports).await
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        self.may_write().await?;
        self.storage.record_unihashes(entries).await
    }

    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        self.storage.remove(conditions).await
    }

    async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        self.storage.clean_unused(before).await
    }

    async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.storage.mark(requests).await
    }

    async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        self.storage.gc_status().await
    }

    async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        self.storage.sweep(mark).await
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        self.storage.usage().await
    }

    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        self.storage.user(name).await
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        self.storage.users().await
    }

    async fn create_user(&self, user: NewUser) -> Result<bool, StorageError> {
        self.storage.create_user(user).await
    }

    async fn put_user(&self, user: NewUser) -> Result<(), StorageError> {
        self.storage.put_user(user).await
    }

    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError> {
        self.storage.set_permissions(id, permissions).await
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        self.storage.set_token(id, token_hash).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        self.storage.delete_user(id).await
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.storage.foreign_removals()
    }

    async fn close(&self) {
        self.storage.close().await;
    }
}
