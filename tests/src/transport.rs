//! The transports that a server listens on.

use std::path::Path;

/// How clients reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A unix socket.
    Unix,
    /// Raw TCP.
    Tcp,
    /// WebSocket.
    Ws,
    /// WebSocket over TLS, with a certificate of the tests' own authority.
    Wss,
}

impl Transport {
    /// Every transport.
    pub const ALL: [Transport; 4] = [Transport::Unix, Transport::Tcp, Transport::Ws, Transport::Wss];

    /// Whether messages travel as WebSocket messages rather than as lines of a stream.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Transport::Ws | Transport::Wss)
    }

    /// What `--bind` is told: a socket in `directory`, or a port that the system picks.
    pub(crate) fn bind_address(self, directory: &Path) -> String {
        match self {
            Transport::Unix => format!("unix://{}/hashserv.sock", directory.display()),
            Transport::Tcp => "127.0.0.1:0".to_owned(),
            Transport::Ws => "ws://127.0.0.1:0/ws".to_owned(),
            Transport::Wss => "wss://127.0.0.1:0/ws".to_owned(),
        }
    }
}
