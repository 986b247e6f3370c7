//! Telling a connection that is lost now and then from an upstream that fails.

use std::time::Duration;

use tokio::time::Instant;

/// How often a lost connection is dialled anew before that counts as a failure, while questions wait and
/// within the time that a question may take.
const MAX_LOSSES: u32 = 4;

/// Connections that were lost lately while questions were waiting.
#[derive(Default)]
pub(super) struct Losses {
    count: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Counts a loss; `false` where there were too many within `window`.
    pub(super) fn is_bearable(&mut self, window: Duration) -> bool {
        if self.last.is_some_and(|last| last.elapsed() > window) {
            self.count = 0;
        }
        self.last = Some(Instant::now());
        self.count += 1;
        self.count <= MAX_LOSSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_may_be_lost_now_and_then_but_not_all_the_time() {
        let window = Duration::from_secs(5);
        let mut losses = Losses::default();
        for _ in 0..10 {
            assert!(losses.is_bearable(window));
            tokio::time::advance(window + Duration::from_millis(1)).await;
        }
        let bearable: Vec<bool> = (0..6).map(|_| losses.is_bearable(window)).collect();
        assert_eq!(bearable, [true, true, true, true, false, false]);
    }
}
