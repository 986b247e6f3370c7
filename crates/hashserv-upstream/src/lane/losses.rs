//! Telling a connection that is lost now and then from an upstream that fails.

use std::time::Duration;

use tokio::time::Instant;

/// Number of times that a lost connection is dialled again before that counts as a failure, while questions wait
/// and within the time that a question may take.
const MAX_LOSSES_IN_WINDOW: u32 = 4;

/// Connections that were lost lately while questions were waiting.
#[derive(Default)]
pub(crate) struct Losses {
    count: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Records a loss. Losses before a gap of more than `window` no longer count.
    pub(crate) fn record(&mut self, window: Duration) {
        if self.last.is_some_and(|last| last.elapsed() > window) {
            self.count = 0;
        }
        self.last = Some(Instant::now());
        self.count += 1;
    }

    /// Returns whether more connections were lost than an upstream that works loses.
    pub(crate) fn are_too_many(&self) -> bool {
        self.count > MAX_LOSSES_IN_WINDOW
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
            losses.record(window);
            assert!(!losses.are_too_many());
            tokio::time::advance(window + Duration::from_millis(1)).await;
        }
        let too_many: Vec<bool> = (0..6)
            .map(|_| {
                losses.record(window);
                losses.are_too_many()
            })
            .collect();
        assert_eq!(too_many, [false, false, false, false, true, true]);
    }
}
