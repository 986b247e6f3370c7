//! The receiving half of a connection.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hashserv_protocol::{Framing, LineBuffer};
use tokio::io::{AsyncRead, DuplexStream, ReadHalf};
use tokio::net::{tcp, unix};
use tokio_tungstenite::tungstenite::{self, error::CapacityError};
use tokio_util::bytes::BufMut;
use tokio_util::io::poll_read_buf;

use crate::outcome::{End, Outcome};
use crate::pace::Pace;
use crate::websocket::WebSocket;
use crate::{Peer, TransportError};

/// Most bytes that one call of [`ReceiveHalf::receive`] takes, so that a batch of lines is one call and one session
/// does not keep the others waiting.
pub(crate) const BATCH_SIZE: usize = 64 * 1024;

/// Bytes from which a batch counts as large: another is expected, and the next read gets a large buffer at once.
const LARGE_BATCH: usize = 4 * 1024;

/// Up to this size a part of a line costs more than it carries.
const SMALL_BATCH: usize = 64;

/// The receiving half of a [`Connection`](crate::Connection).
pub struct ReceiveHalf {
    source: Source,
    state: State,
    peer: Peer,
    lines: LineBuffer,
    /// Set while the last batch was a large one.
    large: bool,
    pace: Pace,
}

pub(crate) enum Source {
    Unix(unix::OwnedReadHalf),
    Tcp(tcp::OwnedReadHalf),
    Memory(ReadHalf<DuplexStream>),
    WebSocket(WebSocket),
}

enum State {
    Open,
    /// It broke after something was received, which the caller gets first.
    Failing(TransportError),
    Failed,
    Ended,
}

impl ReceiveHalf {
    pub(crate) fn new(source: Source, peer: Peer, lines: LineBuffer) -> Self {
        ReceiveHalf { source, state: State::Open, peer, lines, large: false, pace: Pace::new() }
    }

    /// Returns the framing of lines on this transport.
    #[must_use]
    pub fn framing(&self) -> Framing {
        match self.source {
            Source::Unix(_) | Source::Tcp(_) | Source::Memory(_) => Framing::Lines,
            Source::WebSocket(_) => Framing::Messages,
        }
    }

    /// Returns the other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns the lines that were received and not consumed yet.
    pub fn lines(&mut self) -> &mut LineBuffer {
        &mut self.lines
    }

    /// Waits for more to arrive; see [`Connection::receive`](crate::Connection::receive), also for what
    /// cancelling means.
    ///
    /// # Errors
    ///
    /// As [`Connection::receive`](crate::Connection::receive).
    pub async fn receive(&mut self) -> Result<bool, TransportError> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// Counts pieces that asked nothing; see [`Connection::charge`](crate::Connection::charge).
    pub(crate) fn charge(&mut self, pieces: u64) {
        self.pace.charge(pieces);
    }

    /// Returns whether the peer has closed its side in good order.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Returns whether the connection broke, or the peer broke the rules.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failing(_) | State::Failed)
    }

    pub(crate) fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, TransportError>> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Open => self.state = State::Open,
            State::Failing(error) => return Poll::Ready(Err(error)),
            State::Failed => {
                let broken = io::Error::from(io::ErrorKind::NotConnected);
                return Poll::Ready(Err(TransportError::io(&self.peer)(broken)));
            }
            State::Ended => {
                self.state = State::Ended;
                return Poll::Ready(Ok(false));
            }
        }
        let space = self.bound().saturating_sub(self.lines.len()).min(BATCH_SIZE);
        if space == 0 {
            return Poll::Ready(Ok(true));
        }
        ready!(self.pace.poll_ready(cx));
        let outcome = self.source.poll_receive(cx, &mut self.lines, space, self.large);
        let Poll::Ready(outcome) = outcome else {
            self.lines.release();
            return Poll::Pending;
        };
        self.large = outcome.received >= LARGE_BATCH;
        if outcome.received < SMALL_BATCH && !self.lines.is_at_line_end() {
            self.charge(1);
        }
        Poll::Ready(self.conclude(outcome))
    }

    /// Returns the bytes that are buffered before nothing more is read. Messages are whole lines, so that there
    /// is something to take out long before the longest fits in.
    fn bound(&self) -> usize {
        match self.framing() {
            Framing::Lines => self.lines.max_line().saturating_add(BATCH_SIZE),
            Framing::Messages => BATCH_SIZE,
        }
    }

    /// Hands over what was received, and whatever ended the receiving only afterwards.
    fn conclude(&mut self, outcome: Outcome) -> Result<bool, TransportError> {
        match outcome.end {
            None => Ok(true),
            Some(End::Closed) => {
                self.state = State::Ended;
                Ok(outcome.received > 0)
            }
            Some(End::MessageRefused) => {
                self.fail(outcome.received, TransportError::MessageRefused { peer: self.peer.clone() })
            }
            Some(End::Broken(error)) => self.fail(outcome.received, self.explain(error)),
        }
    }

    /// Fails with the error, but only after what was received was handed over.
    fn fail(&mut self, received: usize, error: TransportError) -> Result<bool, TransportError> {
        if received == 0 {
            self.state = State::Failed;
            return Err(error);
        }
        self.state = State::Failing(error);
        Ok(true)
    }

    fn explain(&self, error: tungstenite::Error) -> TransportError {
        match error {
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                TransportError::MessageTooLarge { peer: self.peer.clone(), max: self.lines.max_line() }
            }
            error => TransportError::websocket(&self.peer)(error),
        }
    }
}

impl fmt::Debug for ReceiveHalf {
    /// Without what was received, in which there may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveHalf").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Source {
    /// Pending only if nothing was received.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        lines: &mut LineBuffer,
        space: usize,
        large: bool,
    ) -> Poll<Outcome> {
        // Readiness comes first, so that a connection that waits needs no buffer.
        let readiness = match self {
            Source::Unix(half) => half.as_ref().poll_read_ready(cx),
            Source::Tcp(half) => half.as_ref().poll_read_ready(cx),
            Source::Memory(_) => Poll::Ready(Ok(())),
            Source::WebSocket(socket) => return socket.poll_receive(cx, lines, space),
        };
        if let Err(error) = ready!(readiness) {
            return Poll::Ready(Outcome { received: 0, end: Some(End::from(error)) });
        }
        if large {
            lines.room().reserve(BATCH_SIZE);
        }
        match self {
            Source::Unix(half) => poll_fill(half, cx, lines, space),
            Source::Tcp(half) => poll_fill(half, cx, lines, space),
            Source::Memory(half) => poll_fill(half, cx, lines, space),
            Source::WebSocket(socket) => socket.poll_receive(cx, lines, space),
        }
    }
}

/// Reads until there is no more or `space` is used up.
fn poll_fill(
    io: &mut (impl AsyncRead + Unpin),
    cx: &mut Context<'_>,
    lines: &mut LineBuffer,
    space: usize,
) -> Poll<Outcome> {
    let mut received = 0;
    let end = loop {
        let room = lines.room();
        let offered = (room.capacity() - room.len()).min(space - received);
        match poll_read_buf(Pin::new(&mut *io), cx, &mut room.limit(offered)) {
            Poll::Pending if received == 0 => return Poll::Pending,
            Poll::Pending => break None,
            Poll::Ready(Ok(0)) => break Some(End::Closed),
            Poll::Ready(Ok(count)) => {
                received += count;
                // A read that did not fill the room has emptied the socket: another would be a wasted call.
                if count < offered || received == space {
                    break None;
                }
            }
            Poll::Ready(Err(error)) => break Some(End::from(error)),
        }
    };
    Poll::Ready(Outcome { received, end })
}
