//! A test double: a database that hinders its callers as a test wants it.
//!
//! A test says in a [`Hindrance`] what waits and what fails; [`Hindered`] does the rest of [`Storage`].

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage, StorageError,
    StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};

/// What kind of call a [`Hindrance`] is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All calls that only read.
    Read,
    /// [`report`](Storage::report), [`record_unihashes`](Storage::record_unihashes) and
    /// [`mark`](Storage::mark).
    Write,
    /// [`remove`](Storage::remove), [`clean_unused`](Storage::clean_unused) and [`sweep`](Storage::sweep).
    Removal,
    /// [`create_user`](Storage::create_user), [`put_user`](Storage::put_user),
    /// [`set_permissions`](Storage::set_permissions), [`set_token`](Storage::set_token) and
    /// [`delete_user`](Storage::delete_user).
    AccountChange,
    /// [`close`](Storage::close).
    Closing,
}

/// What stands between callers and a database.
pub trait Hindrance: fmt::Debug + Send + Sync + 'static {
    /// Returns once a call of this kind may go on to the database; it may wait without bound.
    ///
    /// # Errors
    ///
    /// Whatever the call shall fail with, without reaching the database. Closing cannot fail: it returns
    /// then, and leaves the database open.
    fn pass(&self, kind: Kind) -> impl Future<Output = Result<(), StorageError>> + Send;
}

/// A database behind a hindrance.
///
/// All calls but those that only read are run in tasks of their own: what was begun goes on when its caller
/// has gone, also while it is still hindered.
///
/// # Panics
///
/// Such a call panics where the hindrance or the database does, or where there is no Tokio runtime.
#[derive(Debug)]
pub struct Hindered<H> {
    storage: Arc<dyn Storage>,
    hindrance: Arc<H>,
}

impl<H: Hindrance> Hindered<H> {
    /// Puts a hindrance before a database.
    pub fn new(storage: Arc<dyn Storage>, hindrance: H) -> Self {
        Hindered { storage, hindrance: Arc::new(hindrance) }
    }

    /// The hindrance, for a test to change what it lets through.
    pub fn hindrance(&self) -> &H {
        &self.hindrance
    }

    /// Does the work once it may, even if the caller goes away.
    async fn pass<T, F>(
        &self,
        kind: Kind,
        work: impl FnOnce(Arc<dyn Storage>) -> F,
    ) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
    {
        let work = work(self.storage.clone());
        let hindrance = self.hindrance.clone();
        let task = tokio::spawn(async move {
            hindrance.pass(kind).await?;
            work.await
        });
        task.await.expect("neither the hindrance nor the database panics")
    }
}

#[async_trait]
impl<H: Hindrance> Storage for Hindered<H> {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.unihashes(keys).await
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.unihashes_exist(unihashes).await
    }

    async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.newest_unihashes(before, limit).await
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.task_row(key).await
    }

    async fn unified_outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.unified_outhash_row(key).await
    }

    async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.outhash_row(key).await
    }

    async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, StorageError> {
        self.pass(Kind::Write, |storage| async move { storage.report(reports).await }).await
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        self.pass(Kind::Write, |storage| async move { storage.record_unihashes(entries).await }).await
    }

    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let conditions = conditions.clone();
        self.pass(Kind::Removal, |storage| async move { storage.remove(&conditions).await }).await
    }

    async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        self.pass(Kind::Removal, move |storage| async move { storage.clean_unused(before).await }).await
    }

    async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.pass(Kind::Write, |storage| async move { storage.mark(requests).await }).await
    }

    async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.gc_status().await
    }

    async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        let mark = mark.to_owned();
        self.pass(Kind::Removal, |storage| async move { storage.sweep(&mark).await }).await
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.usage().await
    }

    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.user(name).await
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        self.hindrance.pass(Kind::Read).await?;
        self.storage.users().await
    }

    async fn create_user(&self, user: NewUser) -> Result<bool, StorageError> {
        self.pass(Kind::AccountChange, |storage| async move { storage.create_user(user).await }).await
    }

    async fn put_user(&self, user: NewUser) -> Result<(), StorageError> {
        self.pass(Kind::AccountChange, |storage| async move { storage.put_user(user).await }).await
    }

    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError> {
        let permissions = permissions.to_owned();
        let set =
            move |storage: Arc<dyn Storage>| async move { storage.set_permissions(id, &permissions).await };
        self.pass(Kind::AccountChange, set).await
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        let token_hash = token_hash.to_owned();
        let set = move |storage: Arc<dyn Storage>| async move { storage.set_token(id, &token_hash).await };
        self.pass(Kind::AccountChange, set).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        self.pass(Kind::AccountChange, move |storage| async move { storage.delete_user(id).await }).await
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.storage.foreign_removals()
    }

    async fn lost(&self) {
        self.storage.lost().await;
    }

    async fn close(&self) {
        let close = |storage: Arc<dyn Storage>| async move {
            storage.close().await;
            Ok(())
        };
        // The trait has no way to tell a failure.
        let _ = self.pass(Kind::Closing, close).await;
    }
}
