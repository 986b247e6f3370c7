//! How many clients are served at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::warn;

/// How often it is told at most that clients wait.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// The places for clients.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    warned: Mutex<Option<Instant>>,
}

impl Places {
    pub(crate) fn new(count: usize) -> Self {
        Places { free: Arc::new(Semaphore::new(count)), count, warned: Mutex::default() }
    }

    /// Takes a place for a client that has come, or waits until one is free. `None` is never given, as the
    /// semaphore is never closed.
    pub(crate) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.free.clone().try_acquire_owned() {
            return Some(place);
        }
        if self.is_warning_due() {
            warn!("{} clients are connected, which is the limit; further ones wait", self.count);
        }
        self.free.clone().acquire_owned().await.ok()
    }

    fn is_warning_due(&self) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = warned.is_none_or(|time| time.elapsed() >= WARNING_PAUSE);
        if is_due {
            *warned = Some(Instant::now());
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_server_says_so_once_a_minute() {
        let places = Places::new(1);
        let place = places.take().await.unwrap();
        assert!(places.warned.lock().unwrap().is_none());
        assert!(places.take().now_or_never().is_none());
        assert!(!places.is_warning_due());
        tokio::time::advance(WARNING_PAUSE).await;
        assert!(places.is_warning_due());
        drop(place);
        assert!(places.take().now_or_never().is_some());
    }
}
