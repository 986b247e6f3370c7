//! A stream in two halves: queries go out while earlier ones are awaited.

use std::marker::PhantomData;

use tokio::time::Instant;

use crate::ClientError;
use crate::reader::Reader;
use crate::session::close_halves;
use crate::stream::{Query, StreamMode};
use crate::writer::{Writer, check_queries};

/// Sends the queries of a pipeline; from [`Client::pipeline`](crate::Client::pipeline).
#[derive(Debug)]
pub struct QuerySender<M> {
    writer: Writer,
    mode: PhantomData<M>,
}

/// Receives the replies of a pipeline; from [`Client::pipeline`](crate::Client::pipeline).
#[derive(Debug)]
pub struct ReplyReceiver<M> {
    reader: Reader,
    mode: PhantomData<M>,
}

/// The halves of a pipeline over a session that was switched to the mode.
pub(crate) fn halves<M: StreamMode>(writer: Writer, reader: Reader) -> (QuerySender<M>, ReplyReceiver<M>) {
    (QuerySender { writer, mode: PhantomData }, ReplyReceiver { reader, mode: PhantomData })
}

impl<M: StreamMode> QuerySender<M> {
    /// Sends queries, in pieces of about 64 KiB. It waits while the server takes no more, with no limit of its
    /// own: replies must be received meanwhile, or both sides may wait for ever.
    ///
    /// Not cancellation safe: if it is dropped before it is done, the pipeline can only be dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsendable`] if one is not one line of at most 32 KiB: then none was sent, and the
    /// pipeline can be used on. [`ClientError::Transport`] if the connection broke.
    pub async fn send<Q: Query<M>>(&mut self, queries: &[Q]) -> Result<(), ClientError> {
        let outcome = match check_queries(queries) {
            Ok(()) => self.writer.send_queries(queries).await,
            Err(error) => Err(error),
        };
        self.writer.record(outcome)
    }

    /// Closes the connection in good order, which takes a second at most. Replies that have not arrived are lost.
    pub async fn close_with(self, receiver: ReplyReceiver<M>) {
        close_halves(self.writer, receiver.reader).await;
    }

    /// Says that no further query comes, and closes this side. Replies can be received still, though a server
    /// need not send any more: close when all have arrived. Takes a second at most.
    pub async fn close(self) {
        self.writer.close().await;
    }
}

impl<M: StreamMode> ReplyReceiver<M> {
    /// Waits for replies and appends them to `replies`, in the order of the queries: one at least, and what
    /// else has arrived, until `replies` has `limit` in all (at once if it has them already).
    ///
    /// It waits with no limit of its own, also for replies that nothing was asked for, so that a closed
    /// connection is noticed. Cancellation safe: put a time limit around it.
    ///
    /// # Errors
    ///
    /// All but [`ClientError::Unsendable`], [`ClientError::Connect`] and [`ClientError::Timeout`]. The pipeline
    /// can then only be dropped; the replies that were appended before the error are good.
    pub async fn receive(&mut self, replies: &mut Vec<M::Reply>, limit: usize) -> Result<(), ClientError> {
        self.reader.replies::<M>(replies, limit).await
    }

    /// When anything last arrived on the connection; at first, when it was opened. It tells a reply that takes
    /// long to come in from none at all, except for a message of a WebSocket, which arrives as a whole.
    #[must_use]
    pub fn last_received(&self) -> Instant {
        self.reader.last_received()
    }
}
