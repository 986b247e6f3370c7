//! Connecting to a server.

use std::time::Duration;

use hashserv_protocol::Address;
use tokio::time::timeout;

use crate::{Connection, Limits, Peer, TransportError, tcp, unix};

/// How a [`Dialer`] connects.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// How long one dial may take in all, from the look-up of the name to the end of the last handshake.
    /// 30 s by default.
    pub connect_timeout: Duration,
    /// What the connections take at most.
    pub limits: Limits,
}

impl Default for DialOptions {
    fn default() -> Self {
        DialOptions { connect_timeout: Duration::from_secs(30), limits: Limits::default() }
    }
}

/// Connects to servers. Make one and keep it.
#[derive(Debug)]
pub struct Dialer {
    options: DialOptions,
}

impl Dialer {
    /// A dialer; reads nothing from the disk yet.
    #[must_use]
    pub fn new(options: DialOptions) -> Self {
        Dialer { options }
    }

    /// Connects to `address`. Where its host is empty, to this machine.
    ///
    /// Of several addresses that a name has, an unreachable one costs a quarter of a second and no more.
    /// Cancellation safe: a connection that is not finished is dropped.
    ///
    /// # Errors
    ///
    /// [`TransportError::Connect`] or [`TransportError::ConnectTimeout`] if there is no server to be reached.
    pub async fn dial(&self, address: &Address) -> Result<Connection, TransportError> {
        let limit = self.options.connect_timeout;
        timeout(limit, self.connect(address))
            .await
            .unwrap_or_else(|_| Err(TransportError::ConnectTimeout { address: address.clone(), limit }))
    }

    async fn connect(&self, address: &Address) -> Result<Connection, TransportError> {
        let failed = TransportError::connect(address);
        let limits = &self.options.limits;
        let peer = Peer::dialled(address);
        match address {
            Address::Unix(path) => {
                let stream = unix::connect(path).await.map_err(failed)?;
                Ok(Connection::unix(stream, peer, limits))
            }
            Address::Tcp(host) | Address::WebSocket { host, .. } => {
                let stream = tcp::connect(host, host.port.unwrap_or(0)).await.map_err(failed)?;
                Ok(Connection::tcp(stream, peer, limits))
            }
        }
    }
}
