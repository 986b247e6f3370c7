//! Warnings about trouble that may come many times a second.

use std::fmt::Display;
use std::time::Duration;

use tracing::{debug, warn};

use crate::occurrences::Occurrences;

/// Shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Warning about one kind of trouble, logged at most once a minute.
#[derive(Debug, Default)]
pub struct RateLimitedWarning(Occurrences);

impl RateLimitedWarning {
    /// Logs one line that says what went wrong: at WARN, with the number of times since the last warning, or at
    /// DEBUG where that is less than a minute ago.
    pub fn log(&self, text: impl Display) {
        match self.0.due(WARNING_INTERVAL) {
            None => debug!("{text}"),
            Some(1) => warn!("{text}"),
            Some(count) => warn!("{text} ({count} times since the last such warning)"),
        }
    }
}
