//! The sending half of a connection.

use std::fmt;

use hashserv_protocol::Framing;
use tokio::io::{AsyncWriteExt, DuplexStream, WriteHalf};
use tokio::net::{tcp, unix};
use tokio::time::timeout;

use crate::goodbye::GOODBYE_DEADLINE;
use crate::websocket::WebSocket;
use crate::{Peer, TransportError};

/// The sending half of a [`Connection`](crate::Connection).
pub struct SendHalf {
    sink: Sink,
    peer: Peer,
}

pub(crate) enum Sink {
    Unix(unix::OwnedWriteHalf),
    Tcp(tcp::OwnedWriteHalf),
    Memory(WriteHalf<DuplexStream>),
    WebSocket(WebSocket),
}

impl SendHalf {
    pub(crate) fn new(sink: Sink, peer: Peer) -> Self {
        SendHalf { sink, peer }
    }

    /// Returns the framing of lines on this transport.
    #[must_use]
    pub fn framing(&self) -> Framing {
        match self.sink {
            Sink::Unix(_) | Sink::Tcp(_) | Sink::Memory(_) => Framing::Lines,
            Sink::WebSocket(_) => Framing::Messages,
        }
    }

    /// Sends lines; see [`Connection::send`](crate::Connection::send), also for what cancelling means.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`](crate::Connection::send).
    pub async fn send(&mut self, lines: &[u8]) -> Result<(), TransportError> {
        let sent = match &mut self.sink {
            Sink::Unix(half) => half.write_all(lines).await,
            Sink::Tcp(half) => half.write_all(lines).await,
            Sink::Memory(half) => half.write_all(lines).await,
            Sink::WebSocket(socket) => {
                return socket.send(lines).await.map_err(TransportError::websocket(&self.peer));
            }
        };
        sent.map_err(TransportError::io(&self.peer))
    }

    /// Says that nothing more will be sent. The other half can receive what the peer has to say still.
    /// Takes a second at most.
    pub async fn close(mut self) {
        let _ = timeout(GOODBYE_DEADLINE, self.say_goodbye()).await;
    }

    /// Tells the peer that nothing more comes, and returns whether that succeeded.
    pub(crate) async fn say_goodbye(&mut self) -> bool {
        match &mut self.sink {
            Sink::Unix(half) => half.shutdown().await.is_ok(),
            Sink::Tcp(half) => half.shutdown().await.is_ok(),
            Sink::Memory(half) => half.shutdown().await.is_ok(),
            Sink::WebSocket(socket) => socket.say_goodbye().await.is_ok(),
        }
    }
}

impl fmt::Debug for SendHalf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendHalf").field("peer", &self.peer).finish_non_exhaustive()
    }
}
