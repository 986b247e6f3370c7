//! The number of clients that are served at once.

mod peers;

use std::sync::Arc;

use hashserv_log::RateLimitedWarning;
use hashserv_transport::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;
use crate::places::peers::{PeerPlace, Peers};

/// Places besides [`Limits::connections`] that only clients of unix sockets can take: when the network fills all
/// others, an administrator on the machine still gets in.
pub const RESERVED_UNIX_PLACES: usize = 8;

/// The places for clients.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    peers: Arc<Peers>,
    count: usize,
    full: RateLimitedWarning,
    peer_full: RateLimitedWarning,
}

/// A place, which is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    _of_peer: Option<PeerPlace>,
}

impl Places {
    pub(crate) fn new(limits: &Limits) -> Self {
        let per_peer = limits.connections_per_peer.unwrap_or(limits.connections.div_ceil(2));
        Places {
            free: Arc::new(Semaphore::new(limits.connections)),
            reserved: Arc::new(Semaphore::new(RESERVED_UNIX_PLACES)),
            peers: Arc::new(Peers::new(per_peer)),
            count: limits.connections,
            full: RateLimitedWarning::default(),
            peer_full: RateLimitedWarning::default(),
        }
    }

    /// Takes a place for a client that has connected, or waits until one is free. `None` if the client's address has
    /// as many connections as it may have.
    pub(crate) async fn take(&self, peer: &Peer) -> Option<Place> {
        let Some(ip) = peer.ip() else {
            return Some(Place { _permit: self.unix_permit().await?, _of_peer: None });
        };
        let Some(of_peer) = self.peers.take(ip) else {
            self.peer_full.log(format_args!(
                "{peer} was disconnected: its address has {} connections, which is the limit \
                 (--max-connections-per-peer)",
                self.peers.limit()
            ));
            return None;
        };
        Some(Place { _permit: self.permit().await?, _of_peer: Some(of_peer) })
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(permit);
        }
        self.warn();
        self.free.clone().acquire_owned().await.ok()
    }

    async fn unix_permit(&self) -> Option<OwnedSemaphorePermit> {
        for places in [&self.free, &self.reserved] {
            if let Ok(permit) = places.clone().try_acquire_owned() {
                return Some(permit);
            }
        }
        self.warn();
        tokio::select! {
            permit = self.free.clone().acquire_owned() => permit.ok(),
            permit = self.reserved.clone().acquire_owned() => permit.ok(),
        }
    }

    fn warn(&self) {
        self.full
            .log(format_args!("{} clients are connected, which is the limit; further ones wait", self.count));
    }
}
