//! A hash equivalence server: connections in front of a [`Service`](hashserv_service::Service).
//!
//! Data flows one way, and replies come back only as return values:
//!
//! ```text
//! listener > connection > session > commands > service
//! ```
//!
//! A [`Server`] accepts connections on any number of listeners and runs a session for each. A session reads
//! the handshake, then requests (normal mode) or queries (stream modes), and writes replies. A handler turns
//! one request into a value and never touches a socket. What is refused is explained to the peer by one
//! function, which keeps internal details to the log.
//!
//! Everything a peer can make grow is bounded, see [`Limits`].

mod commands;
mod connection_limit;
mod fairness;
mod handshakes;
mod large_messages;
mod limits;
mod network;
mod refusal;
mod server;
mod session;
mod shared;
mod statistics;

pub use connection_limit::RESERVED_UNIX_CONNECTIONS;
pub use limits::Limits;
pub use server::Server;
