//! A database that is slow when a test wants it so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_storage::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage, StorageError,
    StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use hashserv_storage_sql::{DatabaseName, Options, open};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Far longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A database whose removals, changes of accounts and closing end only once they are let through. What was
/// begun goes on when its caller has gone.
#[derive(Debug)]
pub(crate) struct SlowStorage {
    storage: Arc<dyn Storage>,
    is_open: watch::Sender<bool>,
    held: Arc<Notify>,
    _directory: TempDir,
}

impl SlowStorage {
    /// An empty database that lets everything through.
    pub(crate) async fn create() -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
        let storage = open(&name, &Options::default()).await.unwrap();
        Arc::new(SlowStorage {
            storage,
            is_open: watch::Sender::new(true),
            held: Arc::default(),
            _directory: directory,
        })
    }

    /// Lets nothing through from now on.
    pub(crate) fn hold(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets everything through.
    pub(crate) fn let_go(&self) {
        self.is_open.send_replace(true);
    }

    /// Does the work once it may, even if the caller goes away.
    async fn pass<T, F>(&self, work: impl FnOnce(Arc<dyn Storage>) -> F) -> T
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let work = work(self.storage.clone());
        let mut is_open = self.is_open.subscribe();
        let held = self.held.clone();
        let task = tokio::spawn(async move {
            if !*is_open.borrow() {
                held.notify_one();
            }
            is_open.wait_for(|is_open| *is_open).await.unwrap();
            work.await
        });
        task.await.unwrap()
    }
}

/// Runs a call until the database is at it, and gives it up.
pub(crate) async fn begin_and_drop<T>(storage: &SlowStorage, call: impl Future<Output = T>) {
    tokio::select! {
        _ = call => panic!("it did not wait"),
        () = storage.held.notified() => {}
    }
}

/// Asks again and again until it is true.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "waited in vain: {what}");
}

#[async_trait]
impl Storage for SlowStorage {
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
        self.storage.report(reports).await
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        self.storage.record_unihashes(entries).await
    }

    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let conditions = conditions.clone();
        self.pass(|storage| async move { storage.remove(&conditions).await }).await
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
        let mark = mark.to_owned();
        self.pass(|storage| async move { storage.sweep(&mark).await }).await
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
        let permissions = permissions.to_owned();
        self.pass(move |storage| async move { storage.set_permissions(id, &permissions).await }).await
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        self.storage.set_token(id, token_hash).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        self.pass(move |storage| async move { storage.delete_user(id).await }).await
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.storage.foreign_removals()
    }

    async fn close(&self) {
        self.pass(|storage| async move { storage.close().await }).await;
    }
}
