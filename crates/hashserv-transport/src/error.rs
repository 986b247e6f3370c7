//! What can go wrong with a connection.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use hashserv_protocol::Address;
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;

use crate::{Peer, ProxyError};

/// Why a connection, a listener or its certificate failed.
///
/// The text says what failed and on which address; the source, where there is one, says why, and is not
/// repeated in the text: print the whole chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address as it was asked for.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// A running server answers on the unix socket already.
    #[error("cannot listen on {address}: another server is running there")]
    InUse {
        /// The address as it was asked for.
        address: Address,
    },
    /// At the path of the unix socket there is something else, which is left alone.
    #[error(
        "cannot listen on {address}: a file that is no socket is in the way; move it or choose another path"
    )]
    NotASocket {
        /// The address as it was asked for.
        address: Address,
    },
    /// A `wss://` address is to be listened on, and no certificate was given.
    #[error("cannot listen on {address}: it needs a TLS certificate")]
    NoCertificate {
        /// The address as it was asked for.
        address: Address,
    },
    /// The server cannot be reached.
    #[error("cannot connect to {address}")]
    Connect {
        /// The address that was dialled.
        address: Address,
        /// What the system says.
        source: io::Error,
    },
    /// The server did not take the connection in time.
    #[error("cannot connect to {address}: no answer within {} s", limit.as_secs_f32())]
    ConnectTimeout {
        /// The address that was dialled.
        address: Address,
        /// The time that was given.
        limit: Duration,
    },
    /// The proxy gives no connection to the server.
    #[error("cannot connect to {address} through the proxy {proxy}")]
    Proxy {
        /// The address that was dialled.
        address: Address,
        /// Host and port of the proxy, and the variable that names it; no credentials.
        proxy: String,
        /// What is wrong.
        source: ProxyError,
    },
    /// The TLS handshake failed: the peer is not trusted, or speaks no TLS.
    #[error("TLS with {peer} failed: {reason}")]
    Tls {
        /// The other end.
        peer: Peer,
        /// What is wrong and, where there is something to do about it, what.
        reason: String,
        /// What the TLS library says.
        source: io::Error,
    },
    /// A certificate, key or list of authorities cannot be used.
    #[error("{path}: {reason}", path = path.display())]
    Certificate {
        /// The file, or the directory that files are missing in.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key of a server does not belong to its certificate.
    #[error("{key}: the key does not belong to the certificate {certificate}; take the one that the certificate was \
             made for, and see that the server's own certificate stands before those of authorities",
            key = key.display(), certificate = certificate.display())]
    KeyMismatch {
        /// The file of the key.
        key: PathBuf,
        /// The file of the certificate.
        certificate: PathBuf,
    },
    /// The server answered the request for a WebSocket with something else.
    #[error("{peer} offers no WebSocket there: it answered with HTTP status {status}")]
    Refused {
        /// The server.
        peer: Peer,
        /// The HTTP status code.
        status: u16,
    },
    /// The server answered the request for a WebSocket with something other than HTTP, or closed the connection.
    #[error(
        "{peer} did not answer as a WebSocket server does; should the address begin with wss://, or be HOST:PORT for raw TCP?"
    )]
    NoWebSocket {
        /// The server.
        peer: Peer,
        /// What is wrong.
        source: Box<tungstenite::Error>,
    },
    /// What the peer sends is no request for a WebSocket.
    #[error("{peer} sent no request for a WebSocket: {reason}")]
    NoUpgrade {
        /// The client.
        peer: Peer,
        /// What is wrong with it.
        reason: String,
    },
    /// The peer broke the rules of the WebSocket protocol, or went away without a close frame.
    #[error("the WebSocket to {peer} failed")]
    WebSocket {
        /// The other end.
        peer: Peer,
        /// What is wrong.
        source: Box<tungstenite::Error>,
    },
    /// The peer sent a WebSocket message beyond [`Limits::max_message`](crate::Limits::max_message).
    #[error("{peer} sent a message of more than {max} bytes")]
    MessageTooLarge {
        /// The other end.
        peer: Peer,
        /// The longest message that is taken, in bytes.
        max: usize,
    },
    /// The peer closed the WebSocket (status 1009), because a message that was sent is longer than it takes.
    #[error("a message is longer than {peer} takes")]
    MessageRefused {
        /// The other end.
        peer: Peer,
    },
    /// The connection broke.
    #[error("the connection to {peer} failed")]
    Io {
        /// The other end.
        peer: Peer,
        /// What the system says.
        source: io::Error,
    },
}

impl TransportError {
    /// Reports whether a connection failed for a reason that may be over in a moment: the server, or the one
    /// behind a proxy, is restarting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            TransportError::Connect { address, source } => {
                let is_missing =
                    matches!(address, Address::Unix(_)) && source.kind() == io::ErrorKind::NotFound;
                is_missing || is_hang_up(source)
            }
            TransportError::Tls { source, .. } | TransportError::Io { source, .. } => is_hang_up(source),
            TransportError::Refused { status, .. }
            | TransportError::Proxy { source: ProxyError::Refused(status), .. } => {
                matches!(status, 502..=504)
            }
            TransportError::Proxy { source: ProxyError::Io(source), .. } => is_hang_up(source),
            TransportError::WebSocket { source, .. } | TransportError::NoWebSocket { source, .. } => {
                matches!(
                    **source,
                    tungstenite::Error::ConnectionClosed
                        | tungstenite::Error::Protocol(
                            ProtocolError::HandshakeIncomplete | ProtocolError::ResetWithoutClosingHandshake
                        )
                )
            }
            _ => false,
        }
    }

    pub(crate) fn io(peer: &Peer) -> impl FnOnce(io::Error) -> Self {
        let peer = peer.clone();
        move |source| TransportError::Io { peer, source }
    }

    pub(crate) fn websocket(peer: &Peer) -> impl FnOnce(tungstenite::Error) -> Self {
        let peer = peer.clone();
        move |error| match error {
            tungstenite::Error::Io(source) => TransportError::Io { peer, source },
            error => TransportError::WebSocket { peer, source: Box::new(error) },
        }
    }

    pub(crate) fn connect(address: &Address) -> impl FnOnce(io::Error) -> Self {
        let address = address.clone();
        move |source| TransportError::Connect { address, source }
    }

    pub(crate) fn bind(address: &Address) -> impl FnOnce(io::Error) -> Self {
        let address = address.clone();
        move |source| TransportError::Bind { address, source }
    }
}

/// Whether the other end takes no connections, or dropped this one.
fn is_hang_up(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}
