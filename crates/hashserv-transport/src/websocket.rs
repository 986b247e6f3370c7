//! Lines as WebSocket messages.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use futures_util::{Sink, Stream};
use hashserv_protocol::LineBuffer;
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Message, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, error::CapacityError};
use tokio_util::bytes::Bytes;

use crate::Limits;
use crate::metered::Metered;
use crate::outcome::{End, Outcome};

/// What an idle connection holds to read into; the library's default is 128 KiB.
const READ_BUFFER: usize = 8 * 1024;

/// How much is gathered for one write, so that a batch of lines is one system call.
const WRITE_BUFFER: usize = 64 * 1024;

/// Longer messages are sent in several frames: what is not written yet would be moved after each partial write.
const MAX_FRAME: usize = 1024 * 1024;

/// What may be queued to be written: a frame of ours behind a full buffer, and answers to pings. Of answers that
/// have no room any more only the last is kept, so a peer that asks and never reads makes nothing grow.
const MAX_QUEUED: usize = WRITE_BUFFER + 2 * MAX_FRAME;

/// A WebSocket that two halves share. The lock is never held across an await.
#[derive(Clone)]
pub(crate) struct WebSocket(Arc<Mutex<WebSocketStream<Metered>>>);

/// The settings of a WebSocket.
pub(crate) fn config(limits: &Limits) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_QUEUED)
        .max_message_size(Some(limits.max_message))
        .max_frame_size(Some(limits.max_message))
}

impl WebSocket {
    pub(crate) fn new(stream: WebSocketStream<Metered>) -> Self {
        WebSocket(Arc::new(Mutex::new(stream)))
    }

    /// Takes messages until there is none or `space` bytes came in. Pending only if nothing was received.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        lines: &mut LineBuffer,
        space: usize,
    ) -> Poll<Outcome> {
        let mut stream = self.lock();
        let mut received = 0;
        let end = loop {
            match Pin::new(&mut *stream).poll_next(cx) {
                Poll::Pending if received == 0 => return Poll::Pending,
                Poll::Pending => break None,
                Poll::Ready(Some(Ok(Message::Text(text)))) => {
                    received += push(lines, text.as_str().as_bytes());
                    stream.get_mut().message_was_received();
                }
                Poll::Ready(Some(Ok(Message::Binary(bytes)))) => {
                    received += push(lines, &bytes);
                    stream.get_mut().message_was_received();
                }
                Poll::Ready(Some(Ok(Message::Close(farewell)))) => {
                    // The reply is queued already.
                    let _ = Pin::new(&mut *stream).poll_flush(cx);
                    let is_refusal = farewell.is_some_and(|farewell| farewell.code == CloseCode::Size);
                    break Some(if is_refusal { End::MessageRefused } else { End::Closed });
                }
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(None) => break Some(End::Closed),
                Poll::Ready(Some(Err(error))) => {
                    say_why(&mut stream, cx, &error);
                    break Some(End::from(error));
                }
            }
            if received >= space {
                break None;
            }
        };
        Poll::Ready(Outcome { received, end })
    }

    /// Sends each line as a text message; one flush at the end.
    pub(crate) async fn send(&self, lines: &[u8]) -> Result<(), Error> {
        // Answers to pings may have taken the room.
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_flush(cx)).await?;
        let lines = Bytes::copy_from_slice(lines);
        let mut frames = Frames { lines, at: 0, end: None };
        poll_fn(|cx| {
            let mut stream = self.lock();
            loop {
                ready!(Pin::new(&mut *stream).poll_ready(cx))?;
                let Some(frame) = frames.next() else { break };
                Pin::new(&mut *stream).start_send(Message::Frame(frame))?;
            }
            Pin::new(&mut *stream).poll_flush(cx)
        })
        .await
    }

    /// Sends a close frame, unless one was sent or asked for before, and flushes.
    pub(crate) async fn say_goodbye(&self) -> Result<(), Error> {
        let farewell = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        // This fails where the closing has begun already.
        let _ = Pin::new(&mut *self.lock()).start_send(Message::Close(Some(farewell)));
        poll_fn(|cx| Pin::new(&mut *self.lock()).poll_flush(cx)).await
    }

    /// Waits for the peer's close frame, dropping what comes before it.
    pub(crate) async fn await_goodbye(&self) {
        poll_fn(|cx| {
            while let Some(Ok(_)) = ready!(Pin::new(&mut *self.lock()).poll_next(cx)) {}
            Poll::Ready(())
        })
        .await;
    }

    /// Ends TLS and our side of the TCP connection.
    pub(crate) async fn shutdown(&self) {
        let _ = poll_fn(|cx| Pin::new(self.lock().get_mut()).poll_shutdown(cx)).await;
    }

    /// Drops whatever the peer sends until it ends its side.
    pub(crate) async fn discard(&self) {
        let mut scratch = vec![0; 16 * 1024];
        poll_fn(|cx| {
            loop {
                let mut buffer = ReadBuf::new(&mut scratch);
                let outcome = ready!(Pin::new(self.lock().get_mut()).poll_read(cx, &mut buffer));
                if outcome.is_err() || buffer.filled().is_empty() {
                    return Poll::Ready(());
                }
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, WebSocketStream<Metered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many bytes a message brought, its end included.
fn push(lines: &mut LineBuffer, message: &[u8]) -> usize {
    lines.push_message(message);
    message.len() + 1
}

/// Tells the peer what it did wrong, as far as it can be told without waiting.
fn say_why(stream: &mut WebSocketStream<Metered>, cx: &mut Context<'_>, error: &Error) {
    let (code, reason) = match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => (CloseCode::Size, "message too large"),
        Error::Utf8(_) => (CloseCode::Invalid, "text is not UTF-8"),
        Error::Protocol(_) => (CloseCode::Protocol, "protocol error"),
        _ => return,
    };
    let farewell = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if Pin::new(&mut *stream).start_send(farewell).is_ok() {
        let _ = Pin::new(stream).poll_flush(cx);
    }
}

/// Cuts lines into text frames without copying them.
struct Frames {
    lines: Bytes,
    /// What lies before is done.
    at: usize,
    /// Where the line ends of which a part was sent.
    end: Option<usize>,
}

impl Frames {
    fn next(&mut self) -> Option<Frame> {
        let rest = self.lines.get(self.at..).filter(|rest| self.end.is_some() || !rest.is_empty())?;
        let begun = self.end.is_some();
        let line_end = self
            .end
            .unwrap_or_else(|| memchr(b'\n', rest).map_or(self.lines.len(), |length| self.at + length));
        let frame_end = line_end.min(self.at + MAX_FRAME);
        let is_last = frame_end == line_end;
        let payload = self.lines.slice(self.at..frame_end);
        self.at = if is_last { line_end + 1 } else { frame_end };
        self.end = if is_last { None } else { Some(line_end) };
        let opcode = OpCode::Data(if begun { Data::Continue } else { Data::Text });
        Some(Frame::message(payload, opcode, is_last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(lines: &[u8]) -> Vec<(Vec<u8>, OpCode, bool)> {
        let mut frames = Frames { lines: Bytes::copy_from_slice(lines), at: 0, end: None };
        let next = || frames.next().map(|f| (f.payload().to_vec(), f.header().opcode, f.header().is_final));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_line_is_a_frame() {
        let text = |line: &[u8]| (line.to_vec(), OpCode::Data(Data::Text), true);
        assert_eq!(frames(b"one\n\nthree\n"), [text(b"one"), text(b""), text(b"three")]);
        assert_eq!(frames(b""), []);
    }

    #[test]
    fn a_long_line_is_several_frames() {
        let line = vec![b'x'; 2 * MAX_FRAME + 1];
        let sent = frames(&[&line[..], b"\nshort\n"].concat());
        let shape: Vec<_> = sent.iter().map(|(payload, code, last)| (payload.len(), *code, *last)).collect();
        let (text, more) = (OpCode::Data(Data::Text), OpCode::Data(Data::Continue));
        assert_eq!(
            shape,
            [(MAX_FRAME, text, false), (MAX_FRAME, more, false), (1, more, true), (5, text, true)]
        );
        assert_eq!(frames(&vec![b'x'; MAX_FRAME]).len(), 1);
    }
}
