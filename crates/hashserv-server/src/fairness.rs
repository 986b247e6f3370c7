//! Turns of connections: one that costs much waits for those that cost little.
//!
//! The scheduler of tasks knows no priorities: two hundred clients that keep their sessions busy would delay the
//! look-up of another one by two hundred turns. So a session pays for the processor time that it uses. While it
//! has an allowance it runs whenever it can. Without one it waits in a lane, in which only as many sessions run at
//! once as there are worker threads, in the order in which they came. Whatever others need is then never farther
//! away than one turn.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

/// Processor time that a connection may use before it waits in the lane: enough to connect and to record some
/// reports, or to answer some thousands of look-ups.
const PROCESSOR_TIME_ALLOWANCE: Duration = Duration::from_millis(2);

/// Divisor of the time that passes, which gives the allowance that comes back in it. The share is less than what
/// each of some hundred busy connections gets of a small machine: they stay in the lane.
const RECOVERY_DIVISOR: u32 = 500;

/// The lane of the connections that have used up their allowance.
#[derive(Clone, Debug)]
pub(crate) struct BusyLane(Arc<LaneState>);

#[derive(Debug)]
struct LaneState {
    places: Arc<Semaphore>,
    sessions: AtomicU64,
    /// The session that has run in the lane last.
    last: AtomicU64,
}

impl BusyLane {
    /// A lane in which `places` sessions run at once.
    pub(crate) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.max(1)));
        BusyLane(Arc::new(LaneState { places, sessions: AtomicU64::new(1), last: AtomicU64::new(0) }))
    }

    /// A lane for all worker threads of the runtime that the caller runs in.
    pub(crate) fn of_runtime() -> Self {
        BusyLane::new(Handle::current().metrics().num_workers())
    }

    /// Runs a session, which must yield now and then.
    ///
    /// It holds a place in the lane while it computes or is about to, never while it waits for something.
    pub(crate) async fn run<F: Future>(&self, session: F) -> F::Output {
        let mut session = pin!(session);
        let mut account = Account::new(Instant::now());
        let mut entrance = Entrance::new(self);
        poll_fn(|cx| {
            let is_exhausted = account.is_exhausted(Instant::now());
            let place = ready!(entrance.poll_enter(cx, is_exhausted));
            let began = std::time::Instant::now();
            let outcome = session.as_mut().poll(cx);
            account.charge(began.elapsed());
            drop(place);
            outcome
        })
        .await
    }
}

/// The way of a session into the lane.
struct Entrance<'a> {
    lane: &'a LaneState,
    session: u64,
    places: PollSemaphore,
    /// Set once the session has asked for a place. It keeps to that: the time that it waits adds to its allowance,
    /// which must not buy a way around.
    is_waiting: bool,
    /// A place with which the session has gone to the end of the queue of tasks.
    place: Option<OwnedSemaphorePermit>,
}

impl<'a> Entrance<'a> {
    fn new(BusyLane(lane): &'a BusyLane) -> Self {
        Entrance {
            lane,
            session: lane.sessions.fetch_add(1, Ordering::Relaxed),
            places: PollSemaphore::new(lane.places.clone()),
            is_waiting: false,
            place: None,
        }
    }

    /// Ready when the session may run, with its place if it needs one.
    fn poll_enter(&mut self, cx: &mut Context<'_>, is_exhausted: bool) -> Poll<Option<OwnedSemaphorePermit>> {
        if let Some(place) = self.place.take() {
            return Poll::Ready(Some(place));
        }
        if !self.is_waiting {
            // A session that is alone in the lane need not queue.
            if !is_exhausted || self.lane.last.swap(self.session, Ordering::Relaxed) == self.session {
                return Poll::Ready(None);
            }
            if let Poll::Ready(place) = self.places.poll_acquire(cx) {
                // All others that are ready to run come first. Those of the lane wait, as this has the place.
                self.place = place;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.is_waiting = true;
            return Poll::Pending;
        }
        let place = ready!(self.places.poll_acquire(cx));
        self.is_waiting = false;
        self.lane.last.store(self.session, Ordering::Relaxed);
        Poll::Ready(place)
    }
}

/// The processor time that a connection has used and not got back.
#[derive(Debug)]
struct Account {
    used: Duration,
    /// The moment up to which time has been given back.
    at: Instant,
}

impl Account {
    fn new(now: Instant) -> Self {
        Account { used: Duration::ZERO, at: now }
    }

    fn charge(&mut self, time: Duration) {
        self.used += time;
    }

    fn is_exhausted(&mut self, now: Instant) -> bool {
        if self.used < PROCESSOR_TIME_ALLOWANCE {
            return false;
        }
        // A turn that took long must not keep a connection in the lane for ever.
        let returned = now.saturating_duration_since(self.at) / RECOVERY_DIVISOR;
        self.used = self.used.min(2 * PROCESSOR_TIME_ALLOWANCE).saturating_sub(returned);
        self.at = now;
        self.used >= PROCESSOR_TIME_ALLOWANCE
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;
    use tokio::time::advance;

    use super::*;

    /// Computes for so long.
    fn compute(time: Duration) {
        let began = std::time::Instant::now();
        while began.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    /// Lets the tasks run that are ready; `yield_now` would also wait until the system is asked for events.
    async fn requeue() {
        let mut is_queued = false;
        poll_fn(|cx| {
            if is_queued {
                return Poll::Ready(());
            }
            is_queued = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn allowance_comes_back_with_time() {
        let mut account = Account::new(Instant::now());
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
    async fn busy_sessions_take_turns_and_light_ones_do_not_wait_for_them() {
        const BUSY: usize = 20;
        let order = Rc::new(RefCell::new(Vec::new()));
        let lane = BusyLane::new(1);
        let tasks = LocalSet::new();
        for _ in 0..BUSY {
            let (lane, order) = (lane.clone(), order.clone());
            tasks.spawn_local(async move {
                lane.run(async {
                    compute(PROCESSOR_TIME_ALLOWANCE + PROCESSOR_TIME_ALLOWANCE / 10);
                    for _ in 0..3 {
                        requeue().await;
                        order.borrow_mut().push("busy");
                    }
                })
                .await;
            });
        }
        let (light, noted) = (lane.clone(), order.clone());
        tasks.spawn_local(async move {
            light
                .run(async {
                    for _ in 0..3 {
                        requeue().await;
                        noted.borrow_mut().push("light");
                    }
                })
                .await;
        });
        tasks.await;
        let order = order.borrow();
        let last = order.iter().rposition(|who| *who == "light").unwrap();
        assert!(last < BUSY / 2, "{order:?}");
        assert_eq!(order.len(), 3 * BUSY + 3);
    }
}
