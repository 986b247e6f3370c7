//! The pace of what a peer sends and asks nothing by.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Pieces that may come at once before a connection is slowed down.
const BURST: u64 = 8192;

/// Pieces a second that a connection may send for good.
const RATE: u64 = 1000;

/// The shortest and the longest time for which nothing is read from a connection that was too fast.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// A bucket that fills with small pieces and leaks. While it is too full nothing is read from the peer, which
/// then waits for the room in the system's buffers.
///
/// A piece is something that costs about as much as a look-up and asks nothing: a control frame, a fragment, a
/// chunk of some bytes.
#[derive(Debug)]
pub(crate) struct Pace {
    pieces: u64,
    /// When the bucket was last looked at.
    at: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Pace { pieces: 0, at: Instant::now(), pause: None }
    }

    /// Counts pieces.
    pub(crate) fn charge(&mut self, pieces: u64) {
        self.pieces = self.pieces.saturating_add(pieces);
    }

    /// Takes pieces back that turned out to be of use.
    pub(crate) fn refund(&mut self, pieces: u64) {
        self.pieces = self.pieces.saturating_sub(pieces);
    }

    /// Ready when the peer may send more.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() {
            if self.pieces <= BURST {
                return Poll::Ready(());
            }
            self.leak();
            let Some(excess) = self.pieces.checked_sub(BURST).filter(|excess| *excess > 0) else {
                return Poll::Ready(());
            };
            let pause = Duration::from_millis(excess.saturating_mul(1000) / RATE);
            self.pause = Some(Box::pin(sleep(pause.clamp(MIN_PAUSE, MAX_PAUSE))));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
            self.leak();
            // The longest pause pays for everything.
            self.pieces = self.pieces.min(BURST);
        }
        Poll::Ready(())
    }

    fn leak(&mut self) {
        let now = Instant::now();
        let milliseconds =
            u64::try_from(now.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        self.refund(milliseconds.saturating_mul(RATE) / 1000);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn wait(pace: &mut Pace) -> Duration {
        let began = Instant::now();
        poll_fn(|cx| pace.poll_ready(cx)).await;
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_beyond_a_burst_are_slowed_down_to_a_rate() {
        let mut pace = Pace::new();
        pace.charge(BURST);
        assert_eq!(wait(&mut pace).await, Duration::ZERO);
        let began = Instant::now();
        for _ in 0..100 {
            pace.charge(RATE);
            wait(&mut pace).await;
        }
        let seconds = began.elapsed().as_secs();
        assert!((99..=102).contains(&seconds), "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_have_bounds() {
        let mut pace = Pace::new();
        pace.charge(BURST + 1);
        assert!(wait(&mut pace).await >= MIN_PAUSE);
        pace.charge(u64::MAX);
        let pause = wait(&mut pace).await;
        assert!(pause >= MAX_PAUSE && pause < 2 * MAX_PAUSE, "{pause:?}");
        assert_eq!(wait(&mut pace).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_of_use_is_not_slowed_down() {
        let mut pace = Pace::new();
        for _ in 0..10 * BURST {
            pace.charge(1);
            assert_eq!(wait(&mut pace).await, Duration::ZERO);
            pace.refund(1);
        }
    }
}
