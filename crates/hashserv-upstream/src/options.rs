//! Settings of an upstream.

use std::fmt;
use std::time::Duration;

use hashserv_service::DEFAULT_UPSTREAM_TIMEOUT;

/// Settings of an upstream.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// How long whoever asks waits for the answer at most, connecting included. 5 s by default. Give the
    /// dialer this time too: a connection that takes longer is of no use to whoever asks.
    pub timeout: Duration,
    /// The name and the token to log in with on every connection.
    pub login: Option<(String, String)>,
    /// The longest reply in bytes: a row with all the text that was hashed. 64 MiB by default. Over a
    /// WebSocket the limits of the dialer count.
    pub max_message: usize,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        UpstreamOptions {
            timeout: DEFAULT_UPSTREAM_TIMEOUT,
            login: None,
            max_message: hashserv_protocol::DEFAULT_MAX_MESSAGE,
        }
    }
}

// By hand, so that no token gets into a log.
impl fmt::Debug for UpstreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamOptions")
            .field("timeout", &self.timeout)
            .field("login", &self.login.as_ref().map(|(username, _)| username))
            .field("max_message", &self.max_message)
            .finish()
    }
}
