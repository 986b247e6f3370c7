//! Not asking an upstream that fails.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashserv_client::ClientError;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::failure::describe;

/// Time for which the upstream is left alone after a first failure.
const FIRST_PROBE_PAUSE: Duration = Duration::from_secs(1);

/// Longest time between two probes. An upstream that fails within this time after it was
/// back is left alone for longer than before.
const MAX_PROBE_PAUSE: Duration = Duration::from_secs(60);

/// Tells whether the upstream may be asked.
///
/// It is open (nobody asks) from a failure until a probe is answered, or at least taken. The lane that failed
/// first probes; what happens on the others meanwhile changes nothing.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// The upstream, as a person knows it.
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Closed {
        /// When the last outage ended, and the last pause in it.
        last: Option<(Instant, Duration)>,
    },
    Open {
        /// The lane that probes.
        prober: &'static str,
        pause: Duration,
    },
    /// It takes connections again but has answered nothing yet: all may ask, since the lane that probed may ask
    /// what it cannot answer.
    Unproven { pause: Duration },
}

impl Breaker {
    /// A closed breaker for the upstream of that name.
    pub(crate) fn new(name: String) -> Self {
        Breaker { name, state: Mutex::new(State::Closed { last: None }) }
    }

    /// Whether the upstream is not to be asked.
    pub(crate) fn is_open(&self) -> bool {
        matches!(*self.lock(), State::Open { .. })
    }

    /// Returns how long the lane waits before it probes, if it is the one to do that.
    pub(crate) fn pause_before_probe(&self, lane: &'static str) -> Option<Duration> {
        match *self.lock() {
            State::Open { prober, pause } if prober == lane => Some(pause),
            _ => None,
        }
    }

    /// A lane has failed. It is told how long to wait before it probes, if it is the one to do that.
    pub(crate) fn failed(&self, lane: &'static str, error: &ClientError) -> Option<Duration> {
        let mut state = self.lock();
        let pause = match *state {
            State::Closed { last } => {
                warn!(
                    "the upstream {} fails, look-ups are answered without it until it is back: {}",
                    self.name,
                    describe(error)
                );
                last.filter(|(ended, _)| ended.elapsed() < MAX_PROBE_PAUSE)
                    .map_or(FIRST_PROBE_PAUSE, |(_, pause)| next(pause))
            }
            State::Unproven { pause } => self.fails_still(error, pause),
            State::Open { prober, pause } if prober == lane => self.fails_still(error, pause),
            State::Open { .. } => return None,
        };
        *state = State::Open { prober: lane, pause };
        Some(pause)
    }

    /// The upstream has answered a question of a lane.
    pub(crate) fn answered(&self, lane: &'static str) {
        let mut state = self.lock();
        let pause = match *state {
            State::Unproven { pause } => pause,
            State::Open { prober, pause } if prober == lane => pause,
            _ => return,
        };
        info!("the upstream {} is back", self.name);
        *state = State::Closed { last: Some((Instant::now(), pause)) };
    }

    /// A lane has reached the upstream, and got no answer.
    pub(crate) fn reached(&self, lane: &'static str) {
        let mut state = self.lock();
        if let State::Open { prober, pause } = *state
            && prober == lane
        {
            *state = State::Unproven { pause };
        }
    }

    fn fails_still(&self, error: &ClientError, pause: Duration) -> Duration {
        debug!("the upstream {} fails still: {}", self.name, describe(error));
        next(pause)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn next(pause: Duration) -> Duration {
    (2 * pause).min(MAX_PROBE_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILURE: ClientError = ClientError::Closed;

    fn seconds(pause: Option<Duration>) -> Option<u64> {
        pause.map(|pause| pause.as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_until_a_probe_is_answered() {
        let breaker = Breaker::new("up".to_owned());
        assert!(!breaker.is_open());
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(seconds(breaker.failed("get", &FAILURE)), Some(expected));
            assert!(breaker.is_open());
        }
        breaker.answered("get");
        assert!(!breaker.is_open());
        tokio::time::advance(MAX_PROBE_PAUSE).await;
        assert_eq!(seconds(breaker.failed("get", &FAILURE)), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_lane_that_failed_first_probes() {
        let breaker = Breaker::new("up".to_owned());
        assert_eq!(seconds(breaker.failed("get", &FAILURE)), Some(1));
        assert_eq!(breaker.failed("exists", &FAILURE), None);
        breaker.answered("exists");
        assert!(breaker.is_open());
        breaker.answered("get");
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_was_reached_may_be_asked_by_all_until_it_fails_again() {
        let breaker = Breaker::new("up".to_owned());
        for expected in [1, 2, 4] {
            assert_eq!(seconds(breaker.failed("get", &FAILURE)), Some(expected));
            breaker.reached("exists");
            assert!(breaker.is_open());
            breaker.reached("get");
            assert!(!breaker.is_open());
        }
        breaker.answered("exists");
        assert_eq!(seconds(breaker.failed("exists", &FAILURE)), Some(8), "it fails again soon");
    }

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_fails_again_soon_is_left_alone_for_longer() {
        let breaker = Breaker::new("up".to_owned());
        for expected in [1, 2, 4] {
            assert_eq!(seconds(breaker.failed("get", &FAILURE)), Some(expected));
            breaker.answered("get");
            tokio::time::advance(MAX_PROBE_PAUSE / 2).await;
        }
    }
}
