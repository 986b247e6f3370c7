//! Connections that carry the hash equivalence protocol: unix, TCP, WebSocket, TLS.

mod close;
mod connection;
mod dial;
mod error;
mod listener;
mod peer;
mod receive;
mod send;
mod tcp;
mod unix;

pub use connection::{Connection, Framing, Limits};
pub use dial::{DialOptions, Dialer};
pub use error::TransportError;
pub use listener::{Incoming, ListenOptions, Listener};
pub use peer::Peer;
pub use receive::ReceiveHalf;
pub use send::SendHalf;
