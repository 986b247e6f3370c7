//! Requests in normal mode, sent while the replies to earlier ones are awaited.

use hashserv_protocol::{Call, Framing, encode_message};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::ClientError;
use crate::reader::Reader;
use crate::writer::Writer;

/// Sends requests without waiting for replies; from [`Client::call_pipeline`](crate::Client::call_pipeline).
#[derive(Debug)]
pub struct CallSender {
    writer: Writer,
    framing: Framing,
}

/// Receives the replies to requests; from [`Client::call_pipeline`](crate::Client::call_pipeline).
#[derive(Debug)]
pub struct CallReceiver {
    reader: Reader,
}

/// The halves of a session in normal mode.
pub(crate) fn call_halves(writer: Writer, reader: Reader, framing: Framing) -> (CallSender, CallReceiver) {
    (CallSender { writer, framing }, CallReceiver { reader })
}

impl CallSender {
    /// Sends requests that are answered in normal mode, which those that begin a stream mode are not. It
    /// waits while the server takes no more, with no limit of its own: receive the
    /// replies meanwhile (see [the module](crate::pipeline)), or both sides may wait forever.
    ///
    /// Not cancellation safe: if it is dropped before it is done, the pipeline can only be dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsendable`], [`ClientError::Transport`]; the pipeline can then only be dropped.
    pub async fn send(&mut self, calls: &[Call<'_>]) -> Result<(), ClientError> {
        let outcome = self.try_send(calls).await;
        self.writer.record(outcome)
    }

    async fn try_send(&mut self, calls: &[Call<'_>]) -> Result<(), ClientError> {
        for call in calls {
            encode_message(call, self.framing, self.writer.pending())
                .map_err(|error| ClientError::Unsendable(error.to_string()))?;
        }
        self.writer.flush().await
    }
}

impl CallReceiver {
    /// Waits for the reply to the earliest request that has none yet, whose type the caller knows.
    ///
    /// It waits with no limit of its own, also where nothing was asked, so that a closed connection is
    /// noticed. Cancellation safe: put a time limit around it.
    ///
    /// # Errors
    ///
    /// All but [`ClientError::Unsendable`], [`ClientError::Connect`] and [`ClientError::Timeout`]. The
    /// pipeline can then only be dropped.
    pub async fn receive<R: DeserializeOwned>(&mut self) -> Result<R, ClientError> {
        let reply = self.reader.message().await?;
        serde_json::from_str(&reply).map_err(|_| ClientError::senseless(reply.as_bytes()))
    }

    /// When anything last arrived on the connection; at first, when it was opened. It tells a reply that takes
    /// long to come in from none at all, except for a message of a WebSocket, which arrives as a whole.
    #[must_use]
    pub fn last_received(&self) -> Instant {
        self.reader.last_received()
    }
}
