//! Handshakes that are not complete, which give way where places are short.
//!
//! A client that says nothing holds its place until its handshake has taken too long. Others must not wait for that.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, sleep_until};

/// Time that a handshake has in any case.
const MIN_HANDSHAKE_TIME: Duration = Duration::from_secs(1);

/// Shortest time between two handshakes that give way to one client: the place of the first is free by then.
const GIVING_WAY_INTERVAL: Duration = Duration::from_millis(100);

/// Places that a client can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One of those for all clients.
    Common,
    /// One of those for unix sockets alone.
    Reserved,
}

/// The handshakes that are not complete, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Handshakes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    incomplete: BTreeMap<u64, Incomplete>,
}

#[derive(Debug)]
struct Incomplete {
    began: Instant,
    place: Place,
    /// Dropped when the handshake is to give way.
    _stays: oneshot::Sender<Infallible>,
}

/// A handshake that is not complete, until it is dropped.
#[derive(Debug)]
pub(crate) struct Handshake {
    handshakes: Arc<Handshakes>,
    id: u64,
    stays: oneshot::Receiver<Infallible>,
}

impl Handshakes {
    pub(crate) fn begin(self: &Arc<Self>, place: Place) -> Handshake {
        let (sender, stays) = oneshot::channel();
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.incomplete.insert(id, Incomplete { began: Instant::now(), place, _stays: sender });
        drop(state);
        Handshake { handshakes: self.clone(), id, stays }
    }

    /// Has handshakes give way for as long as it is polled, the oldest first: those in common places alone where a
    /// reserved one would not help.
    pub(crate) async fn make_room(&self, takes_reserved: bool) -> Infallible {
        let mut earliest = Instant::now();
        loop {
            let Some((id, due)) = self.oldest(takes_reserved) else {
                // One that begins now is due no sooner.
                sleep(MIN_HANDSHAKE_TIME).await;
                continue;
            };
            sleep_until(due.max(earliest)).await;
            if self.lock().incomplete.remove(&id).is_some() {
                earliest = Instant::now() + GIVING_WAY_INTERVAL;
            }
        }
    }

    /// Returns the oldest handshake and the moment from which on it gives way.
    fn oldest(&self, takes_reserved: bool) -> Option<(u64, Instant)> {
        let state = self.lock();
        let helps = |place| takes_reserved || place == Place::Common;
        let (id, oldest) = state.incomplete.iter().find(|(_, handshake)| helps(handshake.place))?;
        Some((*id, oldest.began + MIN_HANDSHAKE_TIME))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handshake {
    /// Returns when the handshake must give way.
    pub(crate) async fn gives_way(&mut self) {
        // The sender is dropped then.
        let _ = (&mut self.stays).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.lock().incomplete.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn oldest_handshake_that_helps_gives_way() {
        let handshakes = Arc::new(Handshakes::default());
        let mut reserved = handshakes.begin(Place::Reserved);
        let mut first = handshakes.begin(Place::Common);
        let mut second = handshakes.begin(Place::Common);
        let room = timeout(MIN_HANDSHAKE_TIME + GIVING_WAY_INTERVAL / 2, handshakes.make_room(false));
        assert!(room.await.is_err());
        first.gives_way().await;
        for handshake in [&mut reserved, &mut second] {
            assert!(timeout(Duration::ZERO, handshake.gives_way()).await.is_err());
        }
        let room = timeout(GIVING_WAY_INTERVAL / 2, handshakes.make_room(true));
        assert!(room.await.is_err());
        reserved.gives_way().await;
        drop((first, second, reserved));
        assert!(handshakes.lock().incomplete.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn young_handshake_stays() {
        let handshakes = Arc::new(Handshakes::default());
        let mut handshake = handshakes.begin(Place::Common);
        assert!(timeout(MIN_HANDSHAKE_TIME / 2, handshakes.make_room(true)).await.is_err());
        assert!(timeout(Duration::ZERO, handshake.gives_way()).await.is_err());
    }
}
