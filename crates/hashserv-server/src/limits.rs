//! The bounds of a server.

use std::time::Duration;

/// The bounds of a server.
///
/// Bounds that are no option: a line has at most 64 KiB on a stream, a handshake 16 KiB, and a stream mode
/// takes what fits in 128 KiB at a time (64 KiB over a WebSocket), or 1 MiB where queries wait for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are served at once. Further ones wait until one ends, in the system's queue except for one of
    /// each listener. Unix sockets have [`RESERVED_UNIX_CONNECTIONS`](crate::RESERVED_UNIX_CONNECTIONS) more.
    pub connections: usize,
    /// Connections that one peer address may have, over TCP, WebSocket and TLS together; an IPv6 address stands for
    /// its /64 network. Further ones are closed at once. Clients of unix sockets are not counted. `None` means half of
    /// all connections.
    pub connections_per_peer: Option<usize>,
    /// The longest message in bytes, in chunks or over a WebSocket.
    pub message: usize,
    /// Time until the handshake of a client is complete, including that of TLS and WebSocket.
    pub handshake: Duration,
    /// Time that a client may leave replies unread while the server waits to send them, for each MiB of them.
    pub stalled_write: Duration,
    /// Time that running requests get to end when the server stops.
    pub shutdown: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 10_000,
            connections_per_peer: None,
            message: hashserv_protocol::DEFAULT_MAX_MESSAGE,
            handshake: Duration::from_secs(30),
            stalled_write: Duration::from_secs(300),
            shutdown: Duration::from_secs(10),
        }
    }
}
