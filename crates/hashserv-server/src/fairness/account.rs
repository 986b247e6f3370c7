//! Account of the processor time of a connection.

use std::time::Duration;

use tokio::time::Instant;

/// Processor time that a connection may use before it waits in the lane: enough to connect and to record some
/// reports, or to answer some thousands of look-ups.
pub(super) const PROCESSOR_TIME_ALLOWANCE: Duration = Duration::from_millis(2);

/// Most that counts as used. A turn that took long must not keep a connection in the lane for ever.
pub(super) const MAX_USED_PROCESSOR_TIME: Duration = Duration::from_millis(4);

/// Processor time of accepting and closing a connection, which the system and the listener spend on it.
const CONNECTION_PROCESSOR_TIME: Duration = Duration::from_micros(100);

/// Divisor of the time that passes, which gives the allowance that comes back in it. The share is less than what
/// each of some hundred busy connections gets of a small machine: they stay in the lane.
const RECOVERY_DIVISOR: u32 = 500;

/// The processor time that a connection has used and not got back.
#[derive(Debug)]
pub(super) struct Account {
    used: Duration,
    /// Time that the connection has used itself, without what it got back.
    own: Duration,
    /// The moment up to which time has been given back.
    at: Instant,
}

impl Account {
    /// The account of a new connection, which inherits the debt of earlier ones.
    pub(super) fn open(debt: Duration, now: Instant) -> Self {
        let own = CONNECTION_PROCESSOR_TIME;
        Account { used: debt + own, own, at: now }
    }

    pub(super) fn charge(&mut self, time: Duration) {
        self.used += time;
        self.own += time;
    }

    pub(super) fn is_exhausted(&mut self, now: Instant) -> bool {
        if self.used < PROCESSOR_TIME_ALLOWANCE {
            return false;
        }
        self.used = recovered(self.used, self.at, now);
        self.at = now;
        self.used >= PROCESSOR_TIME_ALLOWANCE
    }

    /// Returns what the connection has used and not got back, without what it has inherited.
    pub(super) fn close(self, now: Instant) -> Duration {
        recovered(self.used, self.at, now).min(self.own)
    }
}

/// Returns the used time that is left of what there was at a moment before.
pub(super) fn recovered(used: Duration, at: Instant, now: Instant) -> Duration {
    used.min(MAX_USED_PROCESSOR_TIME).saturating_sub(now.saturating_duration_since(at) / RECOVERY_DIVISOR)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn allowance_comes_back_with_time() {
        let mut account = Account::open(Duration::ZERO, Instant::now());
        account.charge(PROCESSOR_TIME_ALLOWANCE / 2);
        assert!(!account.is_exhausted(Instant::now()));
        account.charge(100 * PROCESSOR_TIME_ALLOWANCE);
        assert!(account.is_exhausted(Instant::now()));
        advance(PROCESSOR_TIME_ALLOWANCE * RECOVERY_DIVISOR / 2).await;
        assert!(account.is_exhausted(Instant::now()));
        advance(PROCESSOR_TIME_ALLOWANCE * RECOVERY_DIVISOR).await;
        assert!(!account.is_exhausted(Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn connection_leaves_what_it_has_used_itself() {
        let mut account = Account::open(PROCESSOR_TIME_ALLOWANCE, Instant::now());
        account.charge(CONNECTION_PROCESSOR_TIME);
        assert_eq!(account.close(Instant::now()), 2 * CONNECTION_PROCESSOR_TIME);
        let account = Account::open(Duration::ZERO, Instant::now());
        advance(CONNECTION_PROCESSOR_TIME * RECOVERY_DIVISOR).await;
        assert_eq!(account.close(Instant::now()), Duration::ZERO);
    }
}
