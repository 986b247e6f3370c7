//! Filling the memory for look-ups after a start.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{MAX_BATCH, Storage, StorageError};
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use crate::cache::LookupCache;

/// How often reading begins anew, after what was read has been forgotten, and how long it waits before.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// Reads the newest unihashes into the memory for look-ups until it is full or has them all.
///
/// Builds that start right after the server would otherwise ask the database for every hash. As much time as it
/// reads it leaves to others. Where all is forgotten again and again there is no use in it, and it ends.
pub(crate) async fn warm_up(storage: Arc<dyn Storage>, cache: Arc<LookupCache>) {
    for _ in 0..ATTEMPTS {
        let begin = Instant::now();
        match read_ahead(&*storage, &cache).await {
            Ok(Some(count)) => {
                info!("{count} unihashes were read ahead in {:.1} s", begin.elapsed().as_secs_f64());
                return;
            }
            Ok(None) => sleep(PAUSE).await,
            Err(error) => {
                debug!("reading unihashes ahead ended: {error}");
                return;
            }
        }
    }
    debug!("unihashes are not read ahead, as they are forgotten again and again");
}

/// Gives how many unihashes it read; `None` where all was forgotten meanwhile.
async fn read_ahead(storage: &dyn Storage, cache: &LookupCache) -> Result<Option<usize>, StorageError> {
    let epoch = cache.epoch();
    let mut before = None;
    let mut count = 0;
    while !cache.is_full() {
        let started = Instant::now();
        let page = storage.newest_unihashes(before, MAX_BATCH).await?;
        if cache.epoch() != epoch {
            return Ok(None);
        }
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        count += page.len();
        let entries = page.iter().map(|stored| &stored.entry);
        cache.add_unihashes(epoch, entries.clone().map(|entry| (entry.task_key(), &entry.unihash)));
        cache.add_existing(epoch, entries.map(|entry| &entry.unihash));
        sleep(started.elapsed()).await;
    }
    Ok(Some(count))
}

#[cfg(test)]
mod tests {
    use hashserv_storage::{TaskKey, Unihash, UnihashEntry};
    use hashserv_storage_sql::{DatabaseName, Options, open};

    use super::*;

    const UNIHASH: [u8; 32] = [7; 32];

    /// A database with as many unihashes as fit in a page, and some.
    async fn filled(directory: &tempfile::TempDir, count: usize) -> Arc<dyn Storage> {
        let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
        let storage = open(&name, &Options::default()).await.unwrap();
        let entries = (0..count).map(|number| UnihashEntry {
            method: "m".to_owned(),
            taskhash: taskhash(number),
            unihash: UNIHASH.into(),
        });
        storage.record_unihashes(entries.collect()).await.unwrap();
        storage
    }

    fn taskhash(number: usize) -> String {
        format!("{number:064x}")
    }

    fn remembers(cache: &LookupCache, number: usize) -> bool {
        let unihash = Unihash::from(UNIHASH);
        let existence = cache.existence(std::slice::from_ref(&unihash));
        let unihashes = cache.unihashes(&[TaskKey { method: "m", taskhash: &taskhash(number) }]);
        unihashes == [Some(unihash)] && existence == [true]
    }

    #[tokio::test]
    async fn everything_is_remembered_where_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let storage = filled(&directory, MAX_BATCH + 10).await;
        let cache = Arc::new(LookupCache::new(100_000));
        warm_up(storage.clone(), cache.clone()).await;
        assert!((0..MAX_BATCH + 10).all(|number| remembers(&cache, number)));
        storage.close().await;
    }

    #[tokio::test]
    async fn nothing_is_read_where_nothing_is_to_be_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let storage = filled(&directory, 1).await;
        let cache = Arc::new(LookupCache::new(0));
        warm_up(storage.clone(), cache.clone()).await;
        assert!(!remembers(&cache, 0));
        storage.close().await;
    }

    #[tokio::test]
    async fn reading_ends_when_what_was_read_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let storage = filled(&directory, 1).await;
        let cache = LookupCache::new(100);
        let (count, ()) = tokio::join!(read_ahead(&*storage, &cache), async { cache.clear() });
        assert_eq!(count.unwrap(), None);
        assert_eq!(read_ahead(&*storage, &cache).await.unwrap(), Some(1));
        storage.close().await;
    }

    #[tokio::test]
    async fn what_is_forgotten_once_is_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let storage = filled(&directory, 1).await;
        let cache = Arc::new(LookupCache::new(100));
        tokio::join!(warm_up(storage.clone(), cache.clone()), async { cache.clear() });
        assert!(remembers(&cache, 0));
        storage.close().await;
    }
}
