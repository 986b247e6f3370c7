//! Warnings about trouble that may come many times a second.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{debug, warn};

/// Shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Warning about one kind of trouble, logged at most once a minute.
#[derive(Debug, Default)]
pub struct RateLimitedWarning(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    /// Number of times that the trouble came since the last warning.
    count: u64,
}

impl RateLimitedWarning {
    /// Logs one line that says what went wrong: at WARN, with the number of times since the last warning, or at
    /// DEBUG where that is less than a minute ago.
    pub fn log(&self, text: impl Display) {
        match self.due() {
            None => debug!("{text}"),
            Some(1) => warn!("{text}"),
            Some(count) => warn!("{text} ({count} times since the last such warning)"),
        }
    }

    /// Counts an occurrence. Returns the number since the last warning, if the next one is due.
    fn due(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        if state.last.is_some_and(|last| last.elapsed() < WARNING_INTERVAL) {
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
    async fn many_troubles_are_one_warning_a_minute_that_counts_them() {
        let warning = RateLimitedWarning::default();
        assert_eq!(warning.due(), Some(1));
        for _ in 0..10 {
            assert_eq!(warning.due(), None);
        }
        tokio::time::advance(WARNING_INTERVAL).await;
        assert_eq!(warning.due(), Some(11));
        assert_eq!(warning.due(), None);
    }
}
