//! What administrators do.

use std::sync::Arc;

use hashserv_storage::{Conditions, GcStatus, MarkRequest, Storage, Sweep, TableUsage, Timestamp};

use crate::ServiceError;
use crate::cache::LookupCache;

/// Removes what is not needed any more, and tells how full the database is.
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
        let _removal = self.cache.removal();
        Ok(self.storage.remove(conditions).await?)
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
    /// [`ServiceError::NotCurrentMark`] where another collection, or none, is in progress.
    pub async fn sweep(&self, mark: &str) -> Result<u64, ServiceError> {
        let _removal = self.cache.removal();
        match self.storage.sweep(mark).await? {
            Sweep::Done(count) => Ok(count),
            Sweep::NotCurrentMark => Err(ServiceError::NotCurrentMark(mark.to_owned())),
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
