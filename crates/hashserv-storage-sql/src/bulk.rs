//! Removing rows that may be millions, the same for every backend.
//!
//! They are found without the lock for writing, and removed in chunks, each a transaction that looks at the
//! conditions again. So reports get in between, and no search of a whole table holds the lock.

use hashserv_storage::{StorageError, Sweep};
use sqlx::SqlStr;

/// The text of [`CHUNK`] for statements.
macro_rules! chunk_size {
    () => {
        2000
    };
}
pub(crate) use chunk_size;

/// How many rows a transaction removes at most.
pub(crate) const CHUNK: usize = chunk_size!();

/// Rows of one table to remove.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    /// Finds their ids.
    pub(crate) find: SqlStr,
    /// Removes those of a chunk that still are as they were found.
    pub(crate) delete: SqlStr,
    /// What both compare with.
    pub(crate) values: Vec<String>,
}

/// How a backend finds rows and removes them.
pub(crate) trait Chunks: Clone + Send + Sync + 'static {
    /// The ids of the rows to remove that are greater than `after`: the first [`CHUNK`] of them, ascending.
    fn find(
        &self,
        removal: &Removal,
        after: i64,
    ) -> impl Future<Output = Result<Vec<i64>, StorageError>> + Send;

    /// Removes the rows with these ids in a transaction; gives the numbers that its statement tells.
    fn remove(
        &self,
        removal: &Removal,
        ids: &[i64],
    ) -> impl Future<Output = Result<Vec<i64>, StorageError>> + Send;
}

/// Makes one removal after the other; gives how many rows were removed. Each statement tells that number.
///
/// Goes on when its caller has gone, until the storage is closed.
pub(crate) async fn remove<C: Chunks>(
    chunks: &C,
    removals: impl IntoIterator<Item = Removal, IntoIter: Send + 'static>,
) -> Result<u64, StorageError> {
    let chunks = chunks.clone();
    let removals = removals.into_iter();
    detached(async move {
        let mut removed = 0;
        for removal in removals {
            removed += remove_chunks(&chunks, &removal).await?;
        }
        Ok(removed)
    })
    .await
}

/// Makes the removal that ends a collection. Each statement tells how many rows were removed, and whether the
/// mark is the current one; one with less than [`CHUNK`] ids is the last, and ends the collection.
///
/// Goes on when its caller has gone, until the storage is closed.
pub(crate) async fn sweep<C: Chunks>(chunks: &C, removal: Removal) -> Result<Sweep, StorageError> {
    let chunks = chunks.clone();
    detached(async move { sweep_chunks(&chunks, &removal).await }).await
}

/// Runs `work` as a task of its own, which a caller that goes away does not stop.
async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> Result<T, StorageError> {
    tokio::spawn(work).await.map_err(|_| StorageError::Closed)?
}

async fn remove_chunks(chunks: &impl Chunks, removal: &Removal) -> Result<u64, StorageError> {
    let mut removed = 0;
    let mut after = 0;
    loop {
        let ids = chunks.find(removal, after).await?;
        let Some(last) = ids.last() else { return Ok(removed) };
        let numbers = chunks.remove(removal, &ids).await?;
        removed += numbers.first().map_or(0, |count| count.unsigned_abs());
        if ids.len() < CHUNK {
            return Ok(removed);
        }
        after = *last;
    }
}

async fn sweep_chunks(chunks: &impl Chunks, removal: &Removal) -> Result<Sweep, StorageError> {
    let mut removed = 0;
    let mut after = 0;
    loop {
        let ids = chunks.find(removal, after).await?;
        let numbers = chunks.remove(removal, &ids).await?;
        let [count, is_current] = numbers[..] else {
            return Err(StorageError::backend(sqlx::Error::RowNotFound));
        };
        if is_current == 0 {
            return Ok(Sweep::NotCurrentMark);
        }
        removed += count.unsigned_abs();
        if ids.len() < CHUNK {
            return Ok(Sweep::Done(removed));
        }
        after = ids.last().copied().unwrap_or(after);
    }
}
