//! Stream modes: batches of queries and replies, one line each.
//!
//! [`Client::get_stream`], [`Client::exists_stream`] and [`Client::mark_stream`] return a [`Stream`]. The
//! types [`Get`], [`GetLines`], [`Exists`] and [`Mark`] name a mode for a [pipeline](crate::pipeline).

use std::marker::PhantomData;

use hashserv_protocol::arguments::GcMark;

use crate::{Client, ClientError};

mod mode;
#[cfg(test)]
mod tests;

pub use mode::{Exists, Get, GetLines, MAX_QUERY, Mark, Query, StreamMode};

pub use crate::writer::check_query;

/// A client in a stream mode, where a batch of queries costs about one round trip.
///
/// It borrows the client. When it is dropped the connection stays in the mode: the next stream of the same
/// mode costs nothing to begin, the next call leaves the mode in passing.
///
/// If the connection is lost the whole batch is asked again on a new one, up to three times or as
/// [`ClientOptions::retry_window`](crate::ClientOptions::retry_window) says, unless a query may not be
/// repeated. A cancelled batch costs the connection; the next call reconnects.
///
/// A batch fails with [`ClientError::Unsendable`] if a query is not one line of at most 32 KiB, in which case
/// none was sent, or with any other [`ClientError`]. The replies that arrived before the error are lost.
#[derive(Debug)]
pub struct Stream<'c, M> {
    client: &'c mut Client,
    mode: PhantomData<M>,
}

/// Streams.
impl Client {
    /// Starts to look up unihashes in batches. A cancelled call costs the connection.
    pub async fn get_stream(&mut self) -> Result<Stream<'_, Get>, ClientError> {
        Stream::begin(self).await
    }

    /// Starts to look up in batches which unihashes are known. A cancelled call costs the connection.
    pub async fn exists_stream(&mut self) -> Result<Stream<'_, Exists>, ClientError> {
        Stream::begin(self).await
    }

    /// Starts to mark unihashes in batches. A cancelled call costs the connection. Older servers do not have
    /// the mode: they refuse it or close the connection.
    pub async fn mark_stream(&mut self) -> Result<Stream<'_, Mark>, ClientError> {
        Stream::begin(self).await
    }
}

impl<'c, M: StreamMode> Stream<'c, M> {
    async fn begin(client: &'c mut Client) -> Result<Self, ClientError> {
        client.enter_stream::<M>().await?;
        Ok(Stream { client, mode: PhantomData })
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
    /// Returns the unihashes of `(method, taskhash)` pairs, in their order; `None` where the server knows none.
    ///
    /// # Errors
    ///
    /// See [`Stream`].
    pub async fn unihashes<A, B>(&mut self, tasks: &[(A, B)]) -> Result<Vec<Option<String>>, ClientError>
    where
        A: AsRef<str> + Sync,
        B: AsRef<str> + Sync,
    {
        self.client.batch::<Get, _>(tasks).await
    }
}

impl Stream<'_, Exists> {
    /// Reports for each unihash, in their order, if the server knows it.
    ///
    /// # Errors
    ///
    /// See [`Stream`].
    pub async fn exist<S: AsRef<str> + Sync>(&mut self, unihashes: &[S]) -> Result<Vec<bool>, ClientError> {
        self.client.batch::<Exists, _>(unihashes).await
    }
}

impl Stream<'_, Mark> {
    /// Marks what matches and returns how many unihashes each mark applies to, marked before or not. A batch with
    /// a condition on `gc_mark` is not repeated. The server may take
    /// [`maintenance_timeout`](crate::ClientOptions::maintenance_timeout) for a mark.
    ///
    /// # Errors
    ///
    /// See [`Stream`].
    pub async fn mark(&mut self, marks: &[GcMark<'_>]) -> Result<Vec<u64>, ClientError> {
        self.client.batch::<Mark, _>(marks).await
    }
}
