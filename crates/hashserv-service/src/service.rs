//! The parts put together.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::Storage;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

use crate::cache::LookupCache;
use crate::upstream::pull::Pull;
use crate::warm_up::warm_up;
use crate::{Accounts, Equivalence, Maintenance, Permissions, Upstream};

/// How many look-ups are remembered by default.
pub const DEFAULT_CACHE_ENTRIES: usize = 1_000_000;

/// How long what the upstream does not know is not asked again, by default.
pub const DEFAULT_NEGATIVE_TTL: Duration = Duration::from_secs(30);

/// How a service behaves.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// What callers may do who have not logged in.
    pub anonymous: Permissions,
    /// Whether clients' reports are answered but not recorded.
    pub read_only: bool,
    /// How many tasks, and how many unihashes, are remembered at most; some 90 and 60 bytes each. With 0
    /// every look-up goes to the database.
    pub cache_entries: usize,
    /// How long what the upstream does not know is not asked again, except for outputs.
    pub negative_ttl: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        ServiceOptions {
            anonymous: Permissions::READ | Permissions::REPORT | Permissions::DB_ADMIN,
            read_only: false,
            cache_entries: DEFAULT_CACHE_ENTRIES,
            negative_ttl: DEFAULT_NEGATIVE_TTL,
        }
    }
}

/// The rules of hash equivalence over a database, and perhaps an upstream.
#[derive(Debug)]
pub struct Service {
    storage: Arc<dyn Storage>,
    equivalence: Equivalence,
    cache: Arc<LookupCache>,
    accounts: Arc<Accounts>,
    maintenance: Arc<Maintenance>,
    read_only: bool,
    /// What runs beside the callers until the service is dropped.
    background: Vec<JoinHandle<()>>,
}

impl Service {
    /// Puts a service on a database. It must be called within a tokio runtime, in which it works in the
    /// background until it is dropped.
    #[must_use]
    pub fn new(
        storage: Arc<dyn Storage>,
        upstream: Option<Arc<dyn Upstream>>,
        options: &ServiceOptions,
    ) -> Self {
        let cache = Arc::new(LookupCache::new(options.cache_entries));
        let pull = upstream.map(|upstream| Pull::new(upstream, storage.clone(), options.negative_ttl));
        Service {
            equivalence: Equivalence::new(storage.clone(), cache.clone(), pull, options.read_only),
            accounts: Arc::new(Accounts::new(storage.clone(), options.anonymous)),
            maintenance: Arc::new(Maintenance::new(storage.clone(), cache.clone())),
            read_only: options.read_only,
            background: vec![
                tokio::spawn(forget(storage.foreign_removals(), cache.clone())),
                tokio::spawn(warm_up(storage.clone(), cache.clone())),
            ],
            cache,
            storage,
        }
    }

    /// Returns the same service without the upstream, for clients whose questions came from there. It shares
    /// all else, and is closed with this one.
    #[must_use]
    pub fn without_upstream(&self) -> Self {
        let (storage, cache) = (self.storage.clone(), self.cache.clone());
        Service {
            equivalence: Equivalence::new(storage.clone(), cache.clone(), None, self.read_only),
            cache,
            accounts: self.accounts.clone(),
            maintenance: self.maintenance.clone(),
            read_only: self.read_only,
            background: Vec::new(),
            storage,
        }
    }

    /// Look-ups and reports.
    #[must_use]
    pub fn equivalence(&self) -> &Equivalence {
        &self.equivalence
    }

    /// Users and permissions.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Garbage collection and the like.
    #[must_use]
    pub fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    /// Whether clients' reports are answered but not recorded.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Returns once the database was taken away for good, see [`Storage::lost`]. A server should end then.
    pub async fn lost(&self) {
        self.storage.lost().await;
    }

    /// Writes what the upstream has given, and closes the database; takes no longer than the limit, of which a
    /// quarter is kept for the database.
    ///
    /// A warning tells what was left undone. Nothing that was acknowledged is lost by that: a database is not
    /// harmed when it is left open.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time, and called again to go on.
    pub async fn close(&self, limit: Duration) {
        let begin = Instant::now();
        self.equivalence.close(limit / 4 * 3).await;
        let left = limit.saturating_sub(begin.elapsed());
        if timeout(left, self.storage.close()).await.is_err() {
            warn!(
                "the database was not closed, as it took too long; writes that were not acknowledged yet may \
                 be missing"
            );
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        for task in &self.background {
            task.abort();
        }
    }
}

/// Drops what is remembered whenever another process may have removed something.
async fn forget(mut foreign_removals: watch::Receiver<u64>, cache: Arc<LookupCache>) {
    while foreign_removals.changed().await.is_ok() {
        cache.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{PATIENCE, slow_storage};

    #[tokio::test]
    async fn a_database_that_does_not_close_is_waited_for_no_longer_than_the_limit() {
        let storage = slow_storage().await;
        let service = Service::new(storage.clone(), None, &ServiceOptions::default());
        storage.hindrance().hold();
        let closing = timeout(PATIENCE, service.close(Duration::from_millis(1)));
        closing.await.expect("it is given up");
    }
}
