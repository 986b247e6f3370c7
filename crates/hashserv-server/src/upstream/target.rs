//! Where the connections to the upstream come from.

use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{Connect, Connecting};
use hashserv_protocol::Address;
use hashserv_transport::{Dialer, TransportError};
use tokio::time::timeout;

/// A server that is dialled within a time limit.
#[derive(Clone, Debug)]
pub(super) struct Target {
    dialer: Arc<Dialer>,
    address: Address,
    limit: Duration,
}

impl Target {
    pub(super) fn new(dialer: Arc<Dialer>, address: Address, limit: Duration) -> Self {
        Target { dialer, address, limit }
    }
}

impl Connect for Target {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async {
            let dialled = timeout(self.limit, self.dialer.dial(&self.address)).await;
            dialled.unwrap_or_else(|_| {
                Err(TransportError::ConnectTimeout { address: self.address.clone(), limit: self.limit })
            })
        })
    }
}
