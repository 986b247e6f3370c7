//! What administrators do.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{
    Conditions, GcStatus, MarkRequest, Storage, StorageError, Sweep, TableUsage, Timestamp,
};
use tokio::time::sleep;

use crate::cache::LookupCache;
use crate::to_the_end::to_the_end;
use crate::{Denial, ServiceError};

/// Time for which nothing is remembered after a removal that failed: it may be committed late, as the database was
/// only not waited for any longer.
const LATE_COMMIT: Duration = Duration::from_secs(120);

/// Removes what is not needed any more, and tells how full the database is.
///
/// # Cancellation
///
/// Every method may be dropped at any time. [`remove`](Self::remove) and [`sweep`](Self::sweep) go on to their
/// end then, and so may [`clean_unused`](Self::clean_unused); what was to be marked is marked as a whole or not
/// at all.
#[derive(Debug)]
pub struct Maintenance {
    storage: Arc<dyn Storage>,
    cache: Arc<LookupCache>,
}

impl Maintenance {
    pub(crate) fn new(storage: Arc<dyn Storage>, cache: Arc<LookupCache>) -> Self {
        Maintenance { storage, cache }
    }

    /// Removes the rows that match, and tells how many they were.
    ///
    /// # Errors
    ///
    /// Where the database fails; part of the rows may be removed then.
    pub async fn remove(&self, conditions: &Conditions) -> Result<u64, ServiceError> {
        let (storage, conditions) = (self.storage.clone(), conditions.clone());
        Ok(self.removal(async move { storage.remove(&conditions).await }).await?)
    }

    /// Does a removal even if its caller goes away. Nothing is remembered until it has ended, and for some time
    /// longer where it failed.
    async fn removal<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
    ) -> Result<T, StorageError> {
        let cache = self.cache.clone();
        let work = async move {
            let done = work.await;
            if matches!(&done, Err(error) if !matches!(error, StorageError::ReadOnly | StorageError::Closed))
            {
                // Begins before the guard of this removal is dropped.
                let guard = cache.removal();
                tokio::spawn(async move {
                    sleep(LATE_COMMIT).await;
                    drop(guard);
                });
            }
            done
        };
        to_the_end(self.cache.removal(), work).await
    }

    /// Removes reports that are older than so many seconds and whose task has no unihash, and tells how
    /// many they were. With 0 it removes all whose task has none.
    ///
    /// # Errors
    ///
    /// Where the database fails; part of the rows may be removed then.
    pub async fn clean_unused(&self, max_age_seconds: f64) -> Result<u64, ServiceError> {
        let before = (max_age_seconds > 0.0).then(|| Timestamp::now().minus_seconds(max_age_seconds));
        Ok(self.storage.clean_unused(before).await?)
    }

    /// Marks unihashes to be kept, and tells for each request how many matched.
    ///
    /// # Errors
    ///
    /// Where the database fails; nothing is marked then.
    pub async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, ServiceError> {
        Ok(self.storage.mark(requests).await?)
    }

    /// How far the current garbage collection is.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn gc_status(&self) -> Result<GcStatus, ServiceError> {
        Ok(self.storage.gc_status().await?)
    }

    /// Removes the unihashes that do not carry the mark, and tells how many they were.
    ///
    /// # Errors
    ///
    /// [`Denial::NotCurrentMark`] where another collection, or none, is in progress;
    /// [`Failure::Storage`](crate::Failure::Storage) where the database fails: part of the unihashes may be removed then.
    pub async fn sweep(&self, mark: &str) -> Result<u64, ServiceError> {
        let (storage, owned_mark) = (self.storage.clone(), mark.to_owned());
        match self.removal(async move { storage.sweep(&owned_mark).await }).await? {
            Sweep::Done(count) => Ok(count),
            Sweep::NotCurrentMark => Err(Denial::NotCurrentMark(mark.to_owned()).into()),
        }
    }

    /// How many rows each table has.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn usage(&self) -> Result<Vec<TableUsage>, ServiceError> {
        Ok(self.storage.usage().await?)
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::hindered::{Hindered, Hindrance, Kind};
    use hashserv_storage::{Column, TaskKey, Unihash, UnihashEntry};
    use hashserv_storage_sql::{DatabaseName, Options, open};

    use super::*;
    use crate::testing::{begin_and_drop, eventually, slow_storage};
    use crate::{Service, ServiceOptions};

    fn key() -> TaskKey<'static> {
        TaskKey { method: "m", taskhash: "0707070707070707070707070707070707070707070707070707070707070707" }
    }

    async fn is_known(service: &Service) -> bool {
        service.equivalence().unihashes(&[key()]).await.unwrap() != [None]
    }

    /// A service that has one unihash, which a collection does not keep.
    async fn service(storage: Arc<dyn Storage>) -> Service {
        let service = Service::new(storage, None, &ServiceOptions::default());
        let TaskKey { method, taskhash } = key();
        let entry = UnihashEntry {
            method: method.to_owned(),
            taskhash: taskhash.to_owned(),
            unihash: Unihash::from([8; 32]),
        };
        service.equivalence().record_unihash(entry).await.unwrap();
        let mark = MarkRequest { mark: "kept".to_owned(), conditions: Conditions::default() };
        service.maintenance().mark(vec![mark]).await.unwrap();
        service
    }

    #[tokio::test]
    async fn what_is_removed_after_the_caller_has_gone_is_forgotten_too() {
        let conditions = [(Column::Method, "m".to_owned())].into_iter().collect();
        for sweeps in [false, true] {
            let storage = slow_storage().await;
            let service = service(storage.clone()).await;
            storage.hindrance().hold();
            if sweeps {
                begin_and_drop(&storage, service.maintenance().sweep("kept")).await;
            } else {
                begin_and_drop(&storage, service.maintenance().remove(&conditions)).await;
            }
            assert!(is_known(&service).await, "it is still there");
            storage.hindrance().let_go();
            eventually("it is forgotten", async || !is_known(&service).await).await;
        }
    }

    /// Fails every removal, which is then still to come.
    #[derive(Debug)]
    struct Late;

    impl Hindrance for Late {
        async fn pass(&self, kind: Kind) -> Result<(), StorageError> {
            match kind {
                Kind::Removal => Err(StorageError::Timeout("a test".to_owned())),
                _ => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn removal_that_is_committed_late_is_noticed() {
        let conditions: Conditions = [(Column::Method, "m".to_owned())].into_iter().collect();
        for sweeps in [false, true] {
            let directory = tempfile::tempdir().unwrap();
            let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
            let storage = open(&name, &Options::default()).await.unwrap();
            let service = service(Arc::new(Hindered::new(storage.clone(), Late))).await;
            assert!(is_known(&service).await, "it is there, and remembered");
            let maintenance = service.maintenance();
            let failed = match sweeps {
                true => maintenance.sweep("kept").await,
                false => maintenance.remove(&conditions).await,
            };
            failed.unwrap_err();
            assert!(is_known(&service).await, "it is still there");
            match sweeps {
                true => drop(storage.sweep("kept").await.unwrap()),
                false => drop(storage.remove(&conditions).await.unwrap()),
            }
            assert!(!is_known(&service).await, "it must not be remembered");
        }
    }
}
