//! Where connections come from.

use std::pin::Pin;
use std::sync::Arc;

use hashserv_protocol::{Address, AddressError};
use hashserv_transport::{Connection, DialOptions, Dialer, TransportError};

/// A connection that is being established.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Connection, TransportError>> + Send + 'a>>;

/// Where a [`Client`](crate::Client) gets its connections from: a [`Target`], or connections in memory.
pub trait Connect: Send + Sync {
    /// Establishes a new connection. The future may be dropped at any time.
    ///
    /// # Errors
    ///
    /// Those of the transport.
    fn connect(&self) -> Connecting<'_>;
}

/// A server at an address.
#[derive(Debug)]
pub struct Target {
    dialer: Arc<Dialer>,
    address: Address,
}

impl Target {
    /// The server at `address`, reached through `dialer`, which several targets may share.
    pub fn new(dialer: impl Into<Arc<Dialer>>, address: Address) -> Self {
        Target { dialer: dialer.into(), address }
    }
}

impl Connect for Target {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(self.dialer.dial(&self.address))
    }
}

impl From<Address> for Target {
    /// The server at the address, reached with the default [`DialOptions`].
    fn from(address: Address) -> Self {
        Target::new(Dialer::new(DialOptions::default()), address)
    }
}

impl TryFrom<&str> for Target {
    type Error = AddressError;

    /// The server at the address, such as `wss://hashserv.example.com/ws`, reached with the default
    /// [`DialOptions`].
    fn try_from(address: &str) -> Result<Self, AddressError> {
        Ok(address.parse::<Address>()?.into())
    }
}
