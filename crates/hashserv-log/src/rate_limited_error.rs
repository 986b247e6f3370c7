//! Errors that may come many times a second.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, error};

use crate::occurrences::Occurrences;

/// Shortest time between two errors.
const ERROR_INTERVAL: Duration = Duration::from_secs(1);

/// Errors of one kind, logged at most once a second.
#[derive(Debug, Default)]
pub struct RateLimitedError(Occurrences);

impl RateLimitedError {
    /// Logs one line that says what failed: at ERROR, with the number of errors that were left out before, or at
    /// DEBUG where the last one is less than a second ago.
    pub fn log(&self, text: impl Display) {
        match self.0.due(ERROR_INTERVAL) {
            None => debug!("{text}"),
            Some(1) => error!("{text}"),
            Some(count) => error!("{text} ({} such errors before were left out)", count - 1),
        }
    }
}
