//! Occurrences of trouble that repeats.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Occurrences of one kind of trouble, some of which are logged.
#[derive(Debug, Default)]
pub(crate) struct Occurrences(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Number of times that the trouble came since it was logged last.
    count: u64,
}

impl Occurrences {
    /// Counts an occurrence. Returns the number since the last one that was logged, if that is so long ago.
    pub(crate) fn due(&self, interval: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.last.is_some_and(|last| last.elapsed() < interval) {
            return None;
        }
        state.last = Some(Instant::now());
        Some(std::mem::take(&mut state.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_troubles_are_due_once_in_an_interval_and_counted() {
        const INTERVAL: Duration = Duration::from_secs(1);
        let trouble = Occurrences::default();
        assert_eq!(trouble.due(INTERVAL), Some(1));
        for _ in 0..10 {
            assert_eq!(trouble.due(INTERVAL), None);
        }
        tokio::time::advance(INTERVAL).await;
        assert_eq!(trouble.due(INTERVAL), Some(11));
        assert_eq!(trouble.due(INTERVAL), None);
    }
}
