//! Slowing down what must not be had in masses.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

/// Lets events pass one at a time, with a pause after each, in the order in which they came.
///
/// Of the events of one user, one waits for its turn; the others wait behind it, so that a user with a hundred
/// connections is one among the users.
#[derive(Debug)]
pub(crate) struct Throttle {
    pause: Duration,
    max_wait: Duration,
    /// When the next event may pass. Whoever waits for that time holds the lock, which is fair.
    next: Mutex<Instant>,
    /// The users who wait, and the lock that those of one user take in turns.
    waiting: StdMutex<HashMap<i64, Arc<Mutex<()>>>>,
}

impl Throttle {
    /// Lets an event pass every `pause`, and lets nobody wait longer than `max_wait`.
    pub(crate) fn new(pause: Duration, max_wait: Duration) -> Self {
        Throttle { pause, max_wait, next: Mutex::new(Instant::now()), waiting: StdMutex::default() }
    }

    /// Waits for the turn of an event of this user; `false` where the wait exceeds its bound.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time: the turn goes to the next who waits.
    pub(crate) async fn pass(&self, user: i64) -> bool {
        timeout(self.max_wait, self.wait_for_turn(user)).await.is_ok()
    }

    async fn wait_for_turn(&self, user: i64) {
        let place = Place::take(&self.waiting, user);
        let _own_turn = place.lock.lock().await;
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.pause;
    }

    #[cfg(test)]
    fn waiting_users(&self) -> usize {
        lock(&self.waiting).len()
    }
}

type Waiting = StdMutex<HashMap<i64, Arc<Mutex<()>>>>;

/// An event's place among those of its user, who is forgotten with the last of them.
struct Place<'a> {
    waiting: &'a Waiting,
    user: i64,
    lock: Arc<Mutex<()>>,
}

impl<'a> Place<'a> {
    fn take(waiting: &'a Waiting, user: i64) -> Self {
        let lock = lock(waiting).entry(user).or_default().clone();
        Place { waiting, user, lock }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(entry) = lock(self.waiting).entry(self.user)
            // The map and this place; places are only taken under the lock.
            && Arc::strong_count(entry.get()) <= 2
        {
            entry.remove();
        }
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<i64, Arc<Mutex<()>>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join_all;

    use super::*;

    fn throttle() -> Throttle {
        Throttle::new(Duration::from_millis(100), Duration::from_millis(250))
    }

    #[tokio::test(start_paused = true)]
    async fn events_pass_with_a_pause_after_each_and_nobody_waits_for_long() {
        let throttle = throttle();
        let begin = Instant::now();
        for expected in [0, 100, 200] {
            assert!(throttle.pass(1).await);
            // The clock of tests counts in whole milliseconds.
            assert!(begin.elapsed().as_millis().abs_diff(expected) <= 5);
        }
        let passed = join_all((0..5).map(|user| throttle.pass(user))).await;
        let passed = passed.into_iter().filter(|passed| *passed).count();
        assert_eq!(passed, 2, "the others would have waited for longer than the bound");
        assert_eq!(throttle.waiting_users(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_events_of_one_user_hold_up_others_by_one_turn() {
        let throttle = throttle();
        assert!(throttle.pass(1).await);
        let flood = join_all((0..130).map(|_| throttle.pass(1)));
        let others = async {
            // After the flood has come.
            tokio::task::yield_now().await;
            join_all([2, 3].map(|user| throttle.pass(user))).await
        };
        let (_, others) = tokio::join!(flood, others);
        assert!(others[0], "one turn of the flood, then its own");
        assert_eq!(throttle.waiting_users(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn turns_of_askers_who_left_are_given_back() {
        let throttle = throttle();
        assert!(throttle.pass(1).await);
        for user in 0..50 {
            let mut asking = Box::pin(throttle.pass(user));
            assert!(asking.as_mut().now_or_never().is_none(), "it waits");
        }
        assert_eq!(throttle.waiting_users(), 0);
        assert!(throttle.pass(2).await, "nobody is before it");
    }
}
