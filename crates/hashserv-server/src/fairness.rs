//! Turns of connections: one that costs much waits for those that cost little.
//!
//! The scheduler of tasks knows no priorities: two hundred clients that keep their sessions busy would delay the
//! look-up of another one by two hundred turns. So a session pays for the processor time that it uses. While it
//! has an allowance it runs whenever it can. Without one it waits in a lane, in which only as many sessions run at
//! once as there are worker threads, in the order in which they came. Whatever others need is then never farther
//! away than one turn. Connections of one address that follow each other pay together: who comes back after each
//! request has no allowance of its own each time.

mod account;
mod debts;

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::PollSemaphore;

use account::Account;
use debts::Debts;

use crate::network::network_of;

/// The lane of the connections that have used up their allowance.
#[derive(Clone, Debug)]
pub(crate) struct BusyLane(Arc<LaneState>);

#[derive(Debug)]
struct LaneState {
    places: Arc<Semaphore>,
    sessions: AtomicU64,
    /// The session that has run in the lane last.
    last: AtomicU64,
    debts: Debts,
}

impl BusyLane {
    /// A lane in which `places` sessions run at once.
    pub(crate) fn new(places: usize) -> Self {
        let places = Arc::new(Semaphore::new(places.max(1)));
        BusyLane(Arc::new(LaneState {
            places,
            sessions: AtomicU64::new(1),
            last: AtomicU64::new(0),
            debts: Debts::default(),
        }))
    }

    /// A lane for all worker threads of the runtime that the caller runs in.
    pub(crate) fn of_runtime() -> Self {
        BusyLane::new(Handle::current().metrics().num_workers())
    }

    /// Runs a session, which must yield now and then, of a client with that address.
    ///
    /// It holds a place in the lane while it computes or is about to, never while it waits for something.
    pub(crate) async fn run<F: Future>(&self, address: Option<IpAddr>, session: F) -> F::Output {
        let mut session = pin!(session);
        let network = address.map(network_of);
        let BusyLane(lane) = self;
        let now = Instant::now();
        let mut account =
            Account::open(network.map(|network| lane.debts.of(network, now)).unwrap_or_default(), now);
        let mut entrance = Entrance::new(self);
        let output = poll_fn(|cx| {
            let is_exhausted = account.is_exhausted(Instant::now());
            let place = ready!(entrance.poll_enter(cx, is_exhausted));
            let began = std::time::Instant::now();
            let outcome = session.as_mut().poll(cx);
            account.charge(began.elapsed());
            drop(place);
            outcome
        })
        .await;
        if let Some(network) = network {
            let now = Instant::now();
            lane.debts.add(network, account.close(now), now);
        }
        output
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::account::PROCESSOR_TIME_ALLOWANCE;
    use super::*;
    use tokio::task::LocalSet;

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
    async fn busy_sessions_take_turns_and_light_ones_do_not_wait_for_them() {
        const BUSY: usize = 20;
        let order = Rc::new(RefCell::new(Vec::new()));
        let lane = BusyLane::new(1);
        let tasks = LocalSet::new();
        for _ in 0..BUSY {
            let (lane, order) = (lane.clone(), order.clone());
            tasks.spawn_local(async move {
                lane.run(None, async {
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
                .run(None, async {
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

    #[tokio::test(start_paused = true)]
    async fn connections_of_an_address_that_come_back_wait_for_others() {
        const BUSY: usize = 20;
        let order = Rc::new(RefCell::new(Vec::new()));
        let lane = BusyLane::new(1);
        let (flooder, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for _ in 0..10 {
            lane.run(flooder, async { compute(PROCESSOR_TIME_ALLOWANCE / 5) }).await;
        }
        let tasks = LocalSet::new();
        for (address, who) in std::iter::repeat_n((flooder, "busy"), BUSY).chain([(other, "light")]) {
            let (lane, order) = (lane.clone(), order.clone());
            tasks.spawn_local(async move {
                lane.run(address, async {
                    for _ in 0..3 {
                        requeue().await;
                        order.borrow_mut().push(who);
                    }
                })
                .await;
            });
        }
        tasks.await;
        let order = order.borrow();
        let last = order.iter().rposition(|who| *who == "light").unwrap();
        assert!(last < BUSY / 2, "{order:?}");
        assert_eq!(order.len(), 3 * BUSY + 3);
    }
}
