//! What a WebSocket costs, counted below the library that reads it.
//!
//! The library hands over whole messages: it shows neither the fragments of one nor how much has come of it, and
//! goes on reading while there is something. So the frames are counted where their bytes come in.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pace::Pace;
use crate::socket::Socket;

/// Bytes that are read before other connections get a turn.
const TURN_BYTES: usize = 64 * 1024;

/// Frames that are read before other connections get a turn.
const TURN_FRAMES: u64 = 1024;

/// Frames with a payload below this size cost more than what they carry.
const SMALL_FRAME: u64 = 64;

/// A socket below a WebSocket, on which a peer that asks little by many frames is slowed down.
#[derive(Debug)]
pub(crate) struct Metered {
    socket: Socket,
    /// None on the side of the client, who chose the server.
    meter: Option<Meter>,
}

#[derive(Debug)]
struct Meter {
    pace: Pace,
    frames: FrameCounter,
    /// What was read since others had a turn.
    turn_bytes: usize,
    turn_frames: u64,
}

impl Metered {
    /// A socket whose peer is trusted.
    pub(crate) fn trusted(socket: Socket) -> Self {
        Metered { socket, meter: None }
    }

    /// A socket of a client, from which bytes of frames have come already.
    pub(crate) fn client(socket: Socket, received: &[u8]) -> Self {
        let mut meter = Meter::new();
        meter.take(received);
        Metered { socket, meter: Some(meter) }
    }

    /// Takes back what the frames of a message were charged, except for all but one fragment.
    pub(crate) fn message_was_received(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.pace.refund(1);
        }
    }
}

impl Meter {
    fn new() -> Self {
        Meter { pace: Pace::new(), frames: FrameCounter::default(), turn_bytes: 0, turn_frames: 0 }
    }

    fn take(&mut self, bytes: &[u8]) {
        let Frames { all, small } = self.frames.take(bytes);
        self.pace.charge(small);
        self.turn_frames += all;
        self.turn_bytes += bytes.len();
    }

    /// Ready when the peer may send more and the others have had their turn.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.pace.poll_ready(cx));
        if self.turn_bytes < TURN_BYTES && self.turn_frames < TURN_FRAMES {
            return Poll::Ready(());
        }
        self.end_turn();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn end_turn(&mut self) {
        (self.turn_bytes, self.turn_frames) = (0, 0);
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Metered { socket, meter } = self.get_mut();
        let Some(meter) = meter else { return Pin::new(socket).poll_read(cx, buffer) };
        ready!(meter.poll_ready(cx));
        let before = buffer.filled().len();
        let outcome = Pin::new(socket).poll_read(cx, buffer);
        match outcome {
            Poll::Pending => meter.end_turn(),
            Poll::Ready(_) => meter.take(&buffer.filled()[before..]),
        }
        outcome
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

/// A number of frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frames {
    all: u64,
    /// Those that carry little, and control frames.
    small: u64,
}

/// Follows the headers of frames in a stream of bytes.
///
/// What breaks the rules is counted somehow: the library ends the connection.
#[derive(Debug, Default)]
struct FrameCounter {
    header: [u8; 14],
    /// How much of the header has come.
    known: usize,
    /// How much of the payload has not come.
    payload: u64,
}

impl FrameCounter {
    fn take(&mut self, mut bytes: &[u8]) -> Frames {
        let mut frames = Frames::default();
        while !bytes.is_empty() {
            if self.payload > 0 {
                let skipped = bytes.len().min(usize::try_from(self.payload).unwrap_or(usize::MAX));
                self.payload -= skipped as u64;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.known] = bytes[0];
            self.known += 1;
            bytes = &bytes[1..];
            if self.known >= 2 && self.known == self.header_size() {
                self.payload = self.payload_size();
                self.known = 0;
                frames.all += 1;
                let is_control = self.header[0] & 0x08 != 0;
                frames.small += u64::from(is_control || self.payload < SMALL_FRAME);
            }
        }
        frames
    }

    /// The size of the header of which the first two bytes are known.
    fn header_size(&self) -> usize {
        let length = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
        2 + length + mask
    }

    /// The size of the payload, from a whole header.
    fn payload_size(&self) -> u64 {
        let length =
            |count: usize| self.header[2..2 + count].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        match self.header[1] & 0x7f {
            126 => length(2),
            127 => length(8),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A masked frame.
    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = vec![first];
        match payload {
            0..=125 => frame.push(0x80 | payload as u8),
            126..=0xffff => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0xff; 4]);
        frame.resize(frame.len() + payload, 0x81);
        frame
    }

    #[test]
    fn frames_are_counted_however_their_bytes_are_split() {
        // Text, a fragment, a ping, a long message, an empty one.
        let parts = [(0x81, 100), (0x01, 1), (0x89, 125), (0x81, 300), (0x82, 70_000), (0x81, 0), (0x80, 64)];
        let bytes: Vec<u8> = parts.iter().flat_map(|(first, payload)| frame(*first, *payload)).collect();
        for size in [1, 2, 3, 7, 64, 1000, bytes.len()] {
            let mut counter = FrameCounter::default();
            let mut total = Frames::default();
            for piece in bytes.chunks(size) {
                let Frames { all, small } = counter.take(piece);
                total = Frames { all: total.all + all, small: total.small + small };
            }
            assert_eq!(total, Frames { all: 7, small: 3 }, "pieces of {size}");
        }
    }
}
