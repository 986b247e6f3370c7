//! Trying again while the database is away.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::Failure;

/// Deadline for a row, and for a change of an account, measured from the call: a connection, what is tried again and the
/// answer included. Clients give up after 30 s.
pub(crate) const ROW_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline for what is found in a whole table, measured from the call.
pub(crate) const SCAN_DEADLINE: Duration = Duration::from_secs(300);
/// For how long what failed is tried again.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a caller is still made to wait for a database that restarts, fails over, or has no connection
/// left.
#[derive(Debug)]
pub(crate) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// Tries again for 10 seconds, and until `latest` at most.
    pub(crate) fn at_most_until(latest: Instant) -> Self {
        Patience { until: latest.min(Instant::now() + PATIENCE), pause: FIRST_PAUSE }
    }

    /// Waits a little and gives true, if there is sense in trying again what may be done twice.
    pub(crate) async fn endures(&mut self, failure: &Failure) -> bool {
        failure.is_passing() && self.pause().await
    }

    /// As [`endures`](Self::endures), for what must not be done twice.
    pub(crate) async fn endures_once(&mut self, failure: &Failure) -> bool {
        failure.is_rolled_back() && self.pause().await
    }

    async fn pause(&mut self) -> bool {
        let now = Instant::now();
        if now >= self.until {
            return false;
        }
        sleep(self.pause.min(self.until - now)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        true
    }
}
