//! Servers that ask each other in a circle.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use hashserv_protocol::MAX_VIA;
use tracing::warn;

/// Tells the upstream on whose behalf it is asked, and finds out whether it asks back.
///
/// Each process has a random number. A connection to the upstream names this server and all servers that ask
/// it, so a server that finds its own number among those of a client is in a circle with it. Such a client is
/// answered without the upstream, which opens the circle at that place and nowhere else: no question goes
/// round, and what each server has still reaches the one that asks it.
#[derive(Debug)]
pub(crate) struct Route {
    /// The upstream, as a person knows it.
    name: String,
    own: u64,
    /// The servers that ask this one, directly or not. It only grows: numbers are not reused.
    askers: Mutex<Vec<u64>>,
    /// Changes with the askers.
    generation: AtomicU64,
    warned: AtomicBool,
}

impl Route {
    pub(crate) fn new(name: String) -> Self {
        Route {
            name,
            own: RandomState::new().build_hasher().finish(),
            askers: Mutex::default(),
            generation: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// Returns which version of [`via`](Route::via) holds at present.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the servers that a connection to the upstream names.
    pub(crate) fn via(&self) -> Vec<u64> {
        let askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        [self.own].into_iter().chain(askers.iter().copied()).collect()
    }

    /// Takes note of the servers that a client names; returns whether the client is in a circle with this
    /// server, so that its questions must not be passed on.
    pub(crate) fn is_circle(&self, via: &[u64]) -> bool {
        if via.contains(&self.own) {
            self.warn(via.len());
            return true;
        }
        let mut askers = self.askers.lock().unwrap_or_else(PoisonError::into_inner);
        for server in via {
            // More servers than that are not told apart from clients.
            if !askers.contains(server) && askers.len() < MAX_VIA - 1 {
                askers.push(*server);
                self.generation.fetch_add(1, Ordering::AcqRel);
            }
        }
        false
    }

    /// Logs one line, however often the upstream asks.
    fn warn(&self, servers: usize) {
        if self.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        if servers == 1 {
            warn!(
                "the upstream {} is this server itself: it is of no use, start the server without --upstream",
                self.name
            );
        } else {
            warn!(
                "the upstream {} asks this server in turn, directly or through others: such questions are \
                 answered from what is known here; start one server of the circle without --upstream",
                self.name
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_finds_itself_on_the_way_is_in_a_circle() {
        let (one, other) = (Route::new("other".to_owned()), Route::new("one".to_owned()));
        assert!(one.is_circle(&one.via()));
        assert!(!one.is_circle(&[]));
        assert!(!other.is_circle(&one.via()));
        assert_eq!(other.via().len(), 2);
        assert!(one.is_circle(&other.via()));
        assert_eq!((one.generation(), other.generation()), (0, 1));
        assert!(!other.is_circle(&one.via()));
        assert_eq!(other.generation(), 1, "nothing new");
    }

    #[test]
    fn number_of_servers_that_are_named_is_bounded() {
        let route = Route::new("up".to_owned());
        assert!(!route.is_circle(&(0..1000).collect::<Vec<_>>()));
        assert_eq!(route.via().len(), MAX_VIA);
    }
}
