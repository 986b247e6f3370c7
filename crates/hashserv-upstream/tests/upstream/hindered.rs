//! A database that writes only when it is let, or not at all.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashserv_storage::StorageError;
use hashserv_storage::hindered::{Hindered, Hindrance, Kind};
use tokio::sync::Semaphore;

use crate::support::storage;

/// Hinders what tests of the upstream have written.
#[derive(Debug)]
pub(crate) struct Writes {
    /// How many further writes are let through.
    permits: Semaphore,
    full: AtomicBool,
}

impl Writes {
    /// Lets so many further writes through.
    pub(crate) fn let_through(&self, writes: usize) {
        self.permits.add_permits(writes);
    }

    /// Has writes fail from now on.
    pub(crate) fn fill_up(&self) {
        self.full.store(true, Ordering::SeqCst);
    }
}

impl Hindrance for Writes {
    async fn pass(&self, kind: Kind) -> Result<(), StorageError> {
        if kind != Kind::Write {
            return Ok(());
        }
        self.permits.acquire().await.unwrap().forget();
        if self.full.load(Ordering::SeqCst) { Err(StorageError::backend("no space left")) } else { Ok(()) }
    }
}

/// An empty database that lets no write through.
pub(crate) async fn hindered(path: &Path) -> Arc<Hindered<Writes>> {
    let writes = Writes { permits: Semaphore::new(0), full: AtomicBool::new(false) };
    Arc::new(Hindered::new(storage(path).await, writes))
}
