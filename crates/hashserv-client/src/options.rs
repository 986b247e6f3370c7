//! Options of a client.

use std::time::Duration;

use hashserv_protocol::DEFAULT_MAX_MESSAGE;

use crate::Login;

/// Options of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Deadline for a call, measured from the last time that anything was sent or received. 30 s by default.
    pub reply_timeout: Duration,
    /// The same for calls that go through all that is stored, such as [`gc_sweep`](crate::Client::gc_sweep), and for
    /// [`backfill_wait`](crate::Client::backfill_wait). An hour by default.
    pub maintenance_timeout: Duration,
    /// Time for which a request is attempted again after the first failure, with growing pauses, where the server
    /// cannot be reached, a proxy cannot reach it, or the connection was lost and the request may be repeated. No
    /// attempt begins later; one that is under way then goes on.
    /// Zero by default: then a lost connection is followed by three attempts at once, and a failure to connect
    /// by none.
    pub retry_window: Duration,
    /// Longest reply that is accepted in chunks, in bytes. 64 MiB by default. Over a WebSocket the
    /// [limits of the transport](hashserv_transport::Limits) count.
    pub max_message: usize,
    /// Credentials to log in with on every connection.
    pub login: Option<Login>,
    /// User to act as on every connection, which only a user administrator may.
    pub become_user: Option<String>,
    /// Identities of the servers on whose behalf a server asks, itself first; see
    /// [`Hello::via`](hashserv_protocol::Hello::via). None by default.
    pub via: Vec<u64>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            reply_timeout: Duration::from_secs(30),
            maintenance_timeout: Duration::from_secs(60 * 60),
            retry_window: Duration::ZERO,
            max_message: DEFAULT_MAX_MESSAGE,
            login: None,
            become_user: None,
            via: Vec::new(),
        }
    }
}
