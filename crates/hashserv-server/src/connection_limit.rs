//! Limit of the number of clients that are served at once.

mod peers;

use std::sync::Arc;

use hashserv_log::RateLimitedWarning;
use hashserv_transport::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use peers::{PeerConnection, PeerLimit};

use crate::Limits;

/// Connections beyond [`Limits::connections`] that only clients of unix sockets can have. When the network uses all
/// others, an administrator on the machine can still connect.
pub const RESERVED_UNIX_CONNECTIONS: usize = 8;

/// Limit of the number of clients.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    peers: Arc<PeerLimit>,
    count: usize,
    full: RateLimitedWarning,
    peer_full: RateLimitedWarning,
}

/// One of the connections within the limit, until it is dropped.
#[derive(Debug)]
pub(crate) struct Admission {
    _permit: OwnedSemaphorePermit,
    _of_peer: Option<PeerConnection>,
}

impl ConnectionLimit {
    pub(crate) fn new(limits: &Limits) -> Self {
        let per_peer = limits.connections_per_peer.unwrap_or(limits.connections.div_ceil(2));
        ConnectionLimit {
            free: Arc::new(Semaphore::new(limits.connections)),
            reserved: Arc::new(Semaphore::new(RESERVED_UNIX_CONNECTIONS)),
            peers: Arc::new(PeerLimit::new(per_peer)),
            count: limits.connections,
            full: RateLimitedWarning::default(),
            peer_full: RateLimitedWarning::default(),
        }
    }

    /// Admits a client that has connected, or waits until that is possible. Returns `None` if the client's address
    /// has as many connections as it may have.
    pub(crate) async fn admit(&self, peer: &Peer) -> Option<Admission> {
        let Some(ip) = peer.ip() else {
            return Some(Admission { _permit: self.unix_permit().await?, _of_peer: None });
        };
        let Some(of_peer) = self.peers.take(ip) else {
            self.peer_full.log(format_args!(
                "{peer} was disconnected: its address has {} connections, which is the limit \
                 (--max-connections-per-peer)",
                self.peers.limit()
            ));
            return None;
        };
        Some(Admission { _permit: self.permit().await?, _of_peer: Some(of_peer) })
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some(permit);
        }
        self.warn();
        self.free.clone().acquire_owned().await.ok()
    }

    async fn unix_permit(&self) -> Option<OwnedSemaphorePermit> {
        for permits in [&self.free, &self.reserved] {
            if let Ok(permit) = permits.clone().try_acquire_owned() {
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
