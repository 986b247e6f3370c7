//! Limit of the number of clients that are served at once.

mod peers;

use std::sync::Arc;

use hashserv_log::RateLimitedWarning;
use hashserv_transport::Peer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use peers::{PeerConnection, PeerLimit};

use crate::Limits;
use crate::handshakes::{Handshake, Handshakes, Place};

/// Connections beyond [`Limits::connections`] that only clients of unix sockets can have. When the network uses all
/// others, an administrator on the machine can still connect.
pub const RESERVED_UNIX_CONNECTIONS: usize = 8;

/// Limit of the number of clients.
#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    free: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    handshakes: Arc<Handshakes>,
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

/// A permit, and the place that it is for.
type Permit = (OwnedSemaphorePermit, Place);

impl ConnectionLimit {
    pub(crate) fn new(limits: &Limits) -> Self {
        let per_peer = limits.connections_per_peer.unwrap_or(limits.connections.div_ceil(2));
        ConnectionLimit {
            free: Arc::new(Semaphore::new(limits.connections)),
            reserved: Arc::new(Semaphore::new(RESERVED_UNIX_CONNECTIONS)),
            handshakes: Arc::default(),
            peers: Arc::new(PeerLimit::new(per_peer)),
            count: limits.connections,
            full: RateLimitedWarning::default(),
            peer_full: RateLimitedWarning::default(),
        }
    }

    /// Admits a client that has connected, and whose handshake begins, or waits until that is possible. Handshakes
    /// that are not complete give way to it. Returns `None` if the client's address has as many connections as it may
    /// have.
    pub(crate) async fn admit(&self, peer: &Peer) -> Option<(Admission, Handshake)> {
        let Some(ip) = peer.ip() else {
            let (permit, place) = self.unix_permit().await?;
            return Some((Admission { _permit: permit, _of_peer: None }, self.handshakes.begin(place)));
        };
        let Some(of_peer) = self.peers.take(ip) else {
            self.peer_full.log(format_args!(
                "{peer} was disconnected: its address has {} connections, which is the limit \
                 (--max-connections-per-peer)",
                self.peers.limit()
            ));
            return None;
        };
        let (permit, place) = self.permit().await?;
        Some((Admission { _permit: permit, _of_peer: Some(of_peer) }, self.handshakes.begin(place)))
    }

    async fn permit(&self) -> Option<Permit> {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            return Some((permit, Place::Common));
        }
        self.warn();
        tokio::select! {
            permit = self.free.clone().acquire_owned() => Some((permit.ok()?, Place::Common)),
            never = self.handshakes.make_room(false) => match never {},
        }
    }

    async fn unix_permit(&self) -> Option<Permit> {
        for (permits, place) in [(&self.free, Place::Common), (&self.reserved, Place::Reserved)] {
            if let Ok(permit) = permits.clone().try_acquire_owned() {
                return Some((permit, place));
            }
        }
        self.warn();
        tokio::select! {
            permit = self.free.clone().acquire_owned() => Some((permit.ok()?, Place::Common)),
            permit = self.reserved.clone().acquire_owned() => Some((permit.ok()?, Place::Reserved)),
            never = self.handshakes.make_room(true) => match never {},
        }
    }

    fn warn(&self) {
        self.full
            .log(format_args!("{} clients are connected, which is the limit; further ones wait", self.count));
    }
}
