//! How many clients are served at once.

use std::sync::Arc;

use hashserv_service::RateLimitedWarning;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for clients.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    full: RateLimitedWarning,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Places { free: Arc::new(Semaphore::new(count)), count, full: RateLimitedWarning::default() }
    }

    /// Takes a place for a client that has come, or waits until one is free. `None` is never given, as the
    /// semaphore is never closed.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Some(place);
        }
        self.full
            .log(format_args!("{} clients are connected, which is the limit; further ones wait", self.count));
        self.free.clone().acquire_owned().await.ok()
    }
}
