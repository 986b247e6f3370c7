//! Further attempts after a connection was lost or could not be established.

use std::time::Duration;

use hashserv_log::one_line;
use tokio::time::{Instant, sleep};

use crate::ClientError;

/// Number of repetitions that follow a close without reply at once, as BitBake's client does.
const MAX_IMMEDIATE_REPEATS: u32 = 3;

/// Pause before the first attempt within a retry window. Each further pause is twice as long, up to the maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// The attempts at one request, for callers that repeat by themselves what a pipeline lost.
#[derive(Debug)]
pub struct Retry {
    /// Time for further attempts, measured from the first failure.
    window: Duration,
    first_failure: Option<Instant>,
    failures: u32,
}

/// Attempts that a failure allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempts {
    /// Some at once, or, where there is a retry window, as many as it has time for.
    All,
    /// Some at once: a close without reply may be the server's answer.
    Immediate,
}

impl Retry {
    /// Further attempts as [`ClientOptions::retry_window`](crate::ClientOptions::retry_window) says.
    #[must_use]
    pub fn new(window: Duration) -> Self {
        Retry { window, first_failure: None, failures: 0 }
    }

    /// Waits until the next attempt at a request that may be repeated is due; `false` where the error is final.
    pub async fn again(&mut self, error: &ClientError) -> bool {
        self.again_with(error, Attempts::All).await
    }

    pub(crate) async fn again_with(&mut self, error: &ClientError, attempts: Attempts) -> bool {
        let Some(pause) = self.pause(error, attempts) else { return false };
        if pause.is_zero() {
            tracing::debug!(error = one_line(error), "request failed, retrying at once");
        } else {
            tracing::info!(error = one_line(error), ?pause, "request failed, retrying");
            sleep(pause).await;
        }
        true
    }

    fn pause(&mut self, error: &ClientError, attempts: Attempts) -> Option<Duration> {
        self.failures += 1;
        let first_failure = *self.first_failure.get_or_insert_with(Instant::now);
        if error.is_lost() && (attempts == Attempts::Immediate || self.window.is_zero()) {
            // Slow attempts would take far longer than the window otherwise.
            let has_time = self.window.is_zero() || first_failure.elapsed() < self.window;
            return (has_time && self.failures <= MAX_IMMEDIATE_REPEATS).then_some(Duration::ZERO);
        }
        if !error.is_lost() && !error.is_transient() {
            return None;
        }
        let left = self.window.checked_sub(first_failure.elapsed()).filter(|left| !left.is_zero())?;
        let doublings = (self.failures - 1).min(8);
        Some((FIRST_PAUSE * 2u32.pow(doublings)).min(MAX_PAUSE).min(left))
    }
}
