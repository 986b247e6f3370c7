//! A connection, whole or in two halves.

use hashserv_protocol::{Framing, LineBuffer};
use tokio::io::DuplexStream;
use tokio::net::{TcpStream, UnixStream};
use tokio_tungstenite::WebSocketStream;

use crate::metered::Metered;
use crate::receive::{ReceiveHalf, Source};
use crate::send::{SendHalf, Sink};
use crate::websocket::WebSocket;
use crate::{Limits, Peer, TransportError};

/// Bytes that an in-memory connection holds in each direction before its sender waits.
const MEMORY_CAPACITY: usize = 64 * 1024;

/// One end of a connection, over any transport.
///
/// It comes from [`Dialer::dial`](crate::Dialer::dial), from
/// [`Incoming::establish`](crate::Incoming::establish) or, in tests, from [`Connection::pair`].
/// To drop it closes it without a word; [`close`](Connection::close) says good-bye.
#[derive(Debug)]
pub struct Connection {
    receive: ReceiveHalf,
    send: SendHalf,
}

impl Connection {
    /// Two ends in memory, connected with each other, framed in [lines](Framing::Lines). For tests.
    #[must_use]
    pub fn pair(limits: Limits) -> (Connection, Connection) {
        let (one, other) = tokio::io::duplex(MEMORY_CAPACITY);
        (Connection::memory(one, &limits), Connection::memory(other, &limits))
    }

    /// Returns the framing of lines on this transport.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.receive.framing()
    }

    /// Returns the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        self.receive.peer()
    }

    /// Returns the lines that were received and not consumed yet.
    pub fn lines(&mut self) -> &mut LineBuffer {
        self.receive.lines()
    }

    /// Waits for more to arrive and appends it to [`lines`](Connection::lines): everything that is there
    /// already, up to about 64 KiB (or one WebSocket message, if that is longer). `false` when the peer has
    /// closed the connection in good order.
    ///
    /// While it waits with nothing buffered, the connection holds no receive buffer. When 64 KiB (on a stream
    /// [`Limits::max_line`] more) are buffered it reads no further and returns `true` at once: take lines out
    /// before you call it again.
    ///
    /// Cancellation safe: nothing that was received is lost.
    ///
    /// # Errors
    ///
    /// When the connection broke, or the peer broke the rules of WebSocket or the bound for its messages
    /// (which the peer is told). There is nothing to be had from the connection any more.
    pub async fn receive(&mut self) -> Result<bool, TransportError> {
        self.receive.receive().await
    }

    /// Counts pieces that were received and asked nothing, so small that they cost more than they carry: chunks of
    /// some bytes, say. A peer that goes on sending thousands of them is slowed down to a thousand a second: nothing
    /// is received from it for up to 10 s.
    pub fn charge(&mut self, pieces: u64) {
        self.receive.charge(pieces);
    }

    /// Sends UTF-8 lines, each ended by `\n`, and flushes. One system call a batch, unless the peer reads slowly.
    ///
    /// Not cancellation safe: if it is dropped before it is done, part of the lines may have been sent, and all
    /// that can be done with the connection is to drop it.
    ///
    /// # Errors
    ///
    /// When the connection broke.
    pub async fn send(&mut self, lines: &[u8]) -> Result<(), TransportError> {
        self.send.send(lines).await
    }

    /// Says good-bye and drops the connection: what was sent before reaches the peer even if the peer is
    /// sending still. Takes a second at most.
    pub async fn close(self) {
        crate::close::close(self.receive, self.send).await;
    }

    /// Takes the connection apart, to send a long batch while its replies are being received.
    #[must_use]
    pub fn split(self) -> (ReceiveHalf, SendHalf) {
        (self.receive, self.send)
    }

    /// Puts the halves of one connection together again, to close it.
    #[must_use]
    pub fn join(receive: ReceiveHalf, send: SendHalf) -> Self {
        Connection { receive, send }
    }

    pub(crate) fn unix(stream: UnixStream, peer: Peer, limits: &Limits) -> Self {
        let (source, sink) = stream.into_split();
        Connection::from_parts(Source::Unix(source), Sink::Unix(sink), peer, limits.max_line)
    }

    pub(crate) fn tcp(stream: TcpStream, peer: Peer, limits: &Limits) -> Self {
        let (source, sink) = stream.into_split();
        Connection::from_parts(Source::Tcp(source), Sink::Tcp(sink), peer, limits.max_line)
    }

    pub(crate) fn websocket(stream: WebSocketStream<Metered>, peer: Peer, limits: &Limits) -> Self {
        let socket = WebSocket::new(stream);
        let (source, sink) = (Source::WebSocket(socket.clone()), Sink::WebSocket(socket));
        Connection::from_parts(source, sink, peer, limits.max_message)
    }

    fn memory(stream: DuplexStream, limits: &Limits) -> Self {
        let (source, sink) = tokio::io::split(stream);
        Connection::from_parts(Source::Memory(source), Sink::Memory(sink), Peer::memory(), limits.max_line)
    }

    fn from_parts(source: Source, sink: Sink, peer: Peer, max_line: usize) -> Self {
        Connection {
            receive: ReceiveHalf::new(source, peer.clone(), LineBuffer::new(max_line)),
            send: SendHalf::new(sink, peer),
        }
    }
}
