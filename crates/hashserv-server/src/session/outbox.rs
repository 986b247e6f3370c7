//! A connection and the replies that are not sent yet.

use std::sync::Arc;

use hashserv_protocol::reply::Reply;
use hashserv_protocol::{Framing, LineBuffer, MAX_LINE, encode_message};
use hashserv_transport::{Connection, Peer, TransportError};
use tokio::sync::watch;
use tokio::time::timeout;

use super::end::End;
use crate::refusal::Failed;
use crate::shared::Shared;

/// Size of the replies, in bytes, from which on they are sent while further ones are being made.
const SEND_THRESHOLD_BYTES: usize = 64 * 1024;

/// Memory that an idle connection keeps for replies: enough for a look-up. Thousands of connections are idle.
const IDLE_BUFFER_BYTES: usize = 512;

/// Size of the replies that a client has the time of [`Limits::stalled_write`](crate::Limits::stalled_write) for.
const STALLED_WRITE_UNIT_BYTES: usize = 1024 * 1024;

/// A connection and the replies that are not sent yet.
pub(super) struct Outbox {
    shared: Arc<Shared>,
    connection: Connection,
    replies: Vec<u8>,
}

impl Outbox {
    pub(super) fn new(shared: Arc<Shared>, connection: Connection) -> Self {
        Outbox { shared, connection, replies: Vec::new() }
    }

    pub(super) fn framing(&self) -> Framing {
        self.connection.framing()
    }

    pub(super) fn peer(&self) -> &Peer {
        self.connection.peer()
    }

    /// Returns what was received and not consumed yet.
    pub(super) fn lines(&mut self) -> &mut LineBuffer {
        self.connection.lines()
    }

    /// Returns the same together with the buffer for the replies, each of which is a line.
    pub(super) fn lines_and_replies(&mut self) -> (&mut LineBuffer, &mut Vec<u8>) {
        (self.connection.lines(), &mut self.replies)
    }

    /// Counts a piece so small that it costs more than it carries.
    pub(super) fn charge_for_piece(&mut self) {
        self.connection.charge(1);
    }

    /// Adds a reply. All replies of normal mode are encoded here.
    pub(super) fn reply(&mut self, reply: &Reply) -> Result<(), Failed> {
        Ok(encode_message(reply, self.connection.framing(), &mut self.replies)?)
    }

    /// Adds replies that are lines already.
    pub(super) fn append(&mut self, lines: &[u8]) {
        self.replies.extend_from_slice(lines);
    }

    /// Sends the replies that have gathered.
    pub(super) async fn send(&mut self) -> Result<(), End> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let units = self.replies.len().div_ceil(STALLED_WRITE_UNIT_BYTES);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let limit = self.shared.limits.stalled_write.saturating_mul(units);
        match timeout(limit, self.connection.send(&self.replies)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(End::Stalled),
        }
        self.replies.clear();
        self.replies.shrink_to(IDLE_BUFFER_BYTES);
        Ok(())
    }

    /// Sends the replies if many have gathered.
    pub(super) async fn send_if_many(&mut self) -> Result<(), End> {
        if self.replies.len() >= SEND_THRESHOLD_BYTES { self.send().await } else { Ok(()) }
    }

    /// Waits until more has arrived. Returns `false` once the client has closed the connection.
    pub(super) async fn receive(&mut self) -> Result<bool, TransportError> {
        self.connection.receive().await
    }

    /// Sends the replies that have gathered, then waits until more has arrived.
    ///
    /// It ends the session when the client is gone or, with nothing left to answer, when the server stops.
    pub(super) async fn send_and_receive(&mut self) -> Result<(), End> {
        self.send().await?;
        tokio::select! {
            received = self.connection.receive() => match received? {
                true => Ok(()),
                false => Err(End::Quiet),
            },
            () = self.shared.stopping.cancelled() => Err(End::Quiet),
        }
    }

    /// Returns once the client is gone and stands in a queue. What it sends meanwhile stays in the buffer, which is
    /// bounded. A client that only closes its own side, and waits for nothing but a reply, still gets it.
    pub(super) async fn until_left(&mut self, mut waits: watch::Receiver<bool>) -> End {
        let end = loop {
            if self.connection.lines().len() >= MAX_LINE {
                // The session stops reading from the client, so it cannot notice its end.
                std::future::pending::<()>().await;
            }
            match self.connection.receive().await {
                Ok(true) => {}
                Ok(false) => break End::Quiet,
                Err(error) => break error.into(),
            }
        };
        // The sender is gone once the request is done: then nobody waits for this.
        let is_waiting = waits.wait_for(|waits| *waits).await.is_ok();
        if is_waiting { end } else { std::future::pending().await }
    }

    /// Closes the connection in good order, without the replies that are not sent yet.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }
}
