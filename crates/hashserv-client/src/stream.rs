//! Streams: a client in a stream mode.

use std::marker::PhantomData;

use hashserv_protocol::arguments::GcMark;

use crate::{Client, ClientError};

pub(crate) mod mode;
#[cfg(test)]
mod tests;

use mode::{Exists, Get, Mark, Query, StreamMode};

/// A client in a stream mode, where a batch of queries costs about one round trip.
///
/// It borrows the client. When it is dropped the connection stays in the mode: the next stream of the same
/// mode costs nothing to begin, the next call leaves the mode in passing.
#[derive(Debug)]
pub struct Stream<'c, M> {
    client: &'c mut Client,
    mode: PhantomData<M>,
}

/// To look up unihashes.
pub type GetStream<'c> = Stream<'c, Get>;

/// To ask which unihashes are known.
pub type ExistsStream<'c> = Stream<'c, Exists>;

/// To mark unihashes that a garbage collection keeps.
pub type MarkStream<'c> = Stream<'c, Mark>;

impl<'c, M: StreamMode> Stream<'c, M> {
    pub(crate) fn new(client: &'c mut Client) -> Self {
        Stream { client, mode: PhantomData }
    }

    /// Asks all queries and returns the replies in their order.
    ///
    /// If the connection is lost the whole batch is asked again on a new one, up to three times or as
    /// [`ClientOptions::retry_window`](crate::ClientOptions::retry_window) says, unless a query may not be
    /// repeated. A cancelled batch costs the connection; the next call reconnects.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsendable`] if a query is not one line of at most 32 KiB, in which case none was sent;
    /// otherwise all but this. The replies that arrived before the error are lost.
    pub async fn batch<Q: Query<M>>(&mut self, queries: &[Q]) -> Result<Vec<M::Reply>, ClientError> {
        self.client.batch(queries).await
    }

    /// Leaves the mode now, not with the next call. A cancelled call costs the connection.
    ///
    /// # Errors
    ///
    /// When the connection is lost, or the server does not confirm it.
    pub async fn leave(self) -> Result<(), ClientError> {
        self.client.leave_stream().await
    }
}

impl Stream<'_, Get> {
    /// The unihashes of `(method, taskhash)` pairs, in their order; `None` where the server knows none. As
    /// [`batch`](Stream::batch), also for errors and cancellation.
    ///
    /// # Errors
    ///
    /// See [`batch`](Stream::batch).
    pub async fn unihashes<A, B>(&mut self, tasks: &[(A, B)]) -> Result<Vec<Option<String>>, ClientError>
    where
        A: AsRef<str> + Sync,
        B: AsRef<str> + Sync,
    {
        self.batch(tasks).await
    }
}

impl Stream<'_, Exists> {
    /// Which of the unihashes the server knows, in their order. As [`batch`](Stream::batch), also for errors
    /// and cancellation.
    ///
    /// # Errors
    ///
    /// See [`batch`](Stream::batch).
    pub async fn exist<S: AsRef<str> + Sync>(&mut self, unihashes: &[S]) -> Result<Vec<bool>, ClientError> {
        self.batch(unihashes).await
    }
}

impl Stream<'_, Mark> {
    /// Marks what matches and returns how many unihashes each mark applies to, marked before or not. A batch with
    /// a condition on `gc_mark` is not repeated. The server may take
    /// [`maintenance_timeout`](crate::ClientOptions::maintenance_timeout) for a mark. As
    /// [`batch`](Stream::batch), also for errors and cancellation.
    ///
    /// # Errors
    ///
    /// See [`batch`](Stream::batch).
    pub async fn mark(&mut self, marks: &[GcMark<'_>]) -> Result<Vec<u64>, ClientError> {
        self.batch(marks).await
    }
}
