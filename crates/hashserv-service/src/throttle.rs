//! Slowing down what must not be had in masses.

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Lets events pass one at a time, with a pause after each.
#[derive(Debug)]
pub(crate) struct Throttle {
    pause: Duration,
    max_wait: Duration,
    next: Mutex<Instant>,
}

impl Throttle {
    /// Lets an event pass every `pause`, and lets nobody wait longer than `max_wait`.
    pub(crate) fn new(pause: Duration, max_wait: Duration) -> Self {
        Throttle { pause, max_wait, next: Mutex::new(Instant::now()) }
    }

    /// Waits for its turn; `false`, at once, where the wait would exceed its bound.
    pub(crate) async fn pass(&self) -> bool {
        let turn = {
            let mut next = self.next.lock().await;
            let turn = (*next).max(Instant::now());
            if turn.duration_since(Instant::now()) > self.max_wait {
                return false;
            }
            *next = turn + self.pause;
            turn
        };
        sleep_until(turn).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn events_pass_with_a_pause_after_each_and_nobody_waits_for_long() {
        let throttle = Throttle::new(Duration::from_millis(100), Duration::from_millis(250));
        let begin = Instant::now();
        for expected in [0, 100, 200] {
            assert!(throttle.pass().await);
            // The clock of tests counts in whole milliseconds.
            assert!(begin.elapsed().as_millis().abs_diff(expected) <= 2);
        }
        let waiting: Vec<_> = (0..5).map(|_| throttle.pass()).collect();
        let mut passed = 0;
        for result in futures_of(waiting).await {
            passed += u32::from(result);
        }
        assert_eq!(passed, 2, "the others would have waited for longer than the bound");
    }

    /// Runs futures at once.
    async fn futures_of<F: Future<Output = bool>>(futures: Vec<F>) -> Vec<bool> {
        let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
        let mut results = vec![None; futures.len()];
        std::future::poll_fn(|cx| {
            for (future, result) in futures.iter_mut().zip(&mut results) {
                if result.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(cx)
                {
                    *result = Some(value);
                }
            }
            if results.iter().all(Option::is_some) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        results.into_iter().flatten().collect()
    }
}
