//! Limit of the number of connections from one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::network::network_of;

/// The addresses that have connections, and how many each has.
#[derive(Debug)]
pub(super) struct PeerLimit {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the connections that an address may have, until it is dropped.
#[derive(Debug)]
pub(super) struct PeerConnection {
    peers: Arc<PeerLimit>,
    network: IpAddr,
}

impl PeerLimit {
    pub(super) fn new(limit: usize) -> Self {
        PeerLimit { limit, counts: Mutex::default() }
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Counts a connection, if the address may have another one.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<PeerConnection> {
        let network = network_of(address);
        let mut counts = self.counts();
        let count = counts.entry(network).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(PeerConnection { peers: self.clone(), network })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(peers: &Arc<PeerLimit>, address: &str) -> Option<PeerConnection> {
        peers.take(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_a_bounded_number_of_connections() {
        let peers = Arc::new(PeerLimit::new(2));
        let first = take(&peers, "192.0.2.1").unwrap();
        let _second = take(&peers, "::ffff:192.0.2.1").unwrap();
        assert!(take(&peers, "192.0.2.1").is_none());
        let _other = take(&peers, "192.0.2.2").unwrap();
        drop(first);
        let _third = take(&peers, "192.0.2.1").unwrap();
        assert!(take(&peers, "::ffff:192.0.2.1").is_none());
    }

    #[test]
    fn addresses_of_an_ipv6_network_count_together() {
        let peers = Arc::new(PeerLimit::new(1));
        let _first = take(&peers, "2001:db8:0:1::1").unwrap();
        assert!(take(&peers, "2001:db8:0:1:ffff::2").is_none());
        assert!(take(&peers, "2001:db8:0:2::1").is_some());
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let peers = Arc::new(PeerLimit::new(1));
        for number in 0..100_u8 {
            assert!(peers.take(IpAddr::from([192, 0, 2, number])).is_some());
        }
        assert!(peers.counts().is_empty());
    }
}
