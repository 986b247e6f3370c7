//! A stream in two halves whose replies are counted.
//!
//! Replies in a stream mode do not say what they answer. A server that sends one too many or too few, be it
//! for a stored value with a line end in it, would shift all later replies to other queries. Each batch
//! therefore ends the mode and begins it again, in the same write: its replies are handed out only once the
//! line that ends the mode has come in its place.

use std::marker::PhantomData;

use hashserv_protocol::{Framing, encode_message, stream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ClientError;
use crate::reader::Reader;
use crate::stream::{Query, StreamMode};
use crate::writer::{Writer, check_queries};

/// Sends batches of queries; from [`Client::batches`](crate::Client::batches).
#[derive(Debug)]
pub struct BatchSender<M> {
    writer: Writer,
    framing: Framing,
    /// Takes the size of each batch before anything of it is sent.
    sizes: mpsc::UnboundedSender<usize>,
    mode: PhantomData<M>,
}

/// Receives the replies to batches; from [`Client::batches`](crate::Client::batches).
#[derive(Debug)]
pub struct BatchReceiver<M: StreamMode> {
    reader: Reader,
    counting: Counting<M>,
}

/// The halves of a stream over a session that was switched to the mode.
pub(crate) fn batch_halves<M: StreamMode>(
    writer: Writer,
    reader: Reader,
    framing: Framing,
) -> (BatchSender<M>, BatchReceiver<M>) {
    let (sizes, counted) = mpsc::unbounded_channel();
    let sender = BatchSender { writer, framing, sizes, mode: PhantomData };
    (sender, BatchReceiver { reader, counting: Counting::new(counted) })
}

impl<M: StreamMode> BatchSender<M> {
    /// Sends the queries of one batch. It waits while the server takes no more, with no limit of its own:
    /// replies must be received meanwhile, or both sides may wait for ever.
    ///
    /// Not cancellation safe: if it is dropped before it is done, the pipeline can only be dropped.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsendable`] if a query is not one line of at most 32 KiB, or the receiver was dropped:
    /// then none was sent. [`ClientError::Transport`] if the connection broke.
    pub async fn send<Q: Query<M>>(&mut self, queries: &[Q]) -> Result<(), ClientError> {
        let outcome = self.try_send(queries).await;
        self.writer.record(outcome)
    }

    async fn try_send<Q: Query<M>>(&mut self, queries: &[Q]) -> Result<(), ClientError> {
        check_queries(queries)?;
        if self.sizes.send(queries.len()).is_err() {
            return Err(ClientError::Unsendable("nobody receives the replies".to_owned()));
        }
        self.writer.queue_queries(queries).await?;
        let pending = self.writer.pending();
        pending.extend_from_slice(stream::END.as_bytes());
        pending.push(b'\n');
        encode_message(&M::call(), self.framing, pending)
            .map_err(|error| ClientError::Unsendable(error.to_string()))?;
        self.writer.flush().await
    }
}

impl<M: StreamMode> BatchReceiver<M> {
    /// Waits for all replies to the earliest batch that has none yet.
    ///
    /// It waits with no limit of its own, also where nothing was asked, so that a closed connection is
    /// noticed. Cancellation safe: put a time limit around it.
    ///
    /// # Errors
    ///
    /// All but [`ClientError::Unsendable`], [`ClientError::Connect`] and [`ClientError::Timeout`];
    /// [`ClientError::Protocol`] where the batch has not as many replies as queries, or a reply came that
    /// nothing was asked for. The pipeline can then only be dropped, and no reply of the batch is known.
    pub async fn receive(&mut self) -> Result<Vec<M::Reply>, ClientError> {
        loop {
            while let Some(line) = self.reader.buffered_line()? {
                if let Some(replies) = self.counting.line(line)? {
                    return Ok(replies);
                }
            }
            self.reader.fill().await?;
        }
    }

    /// When anything last arrived on the connection; at first, when it was opened. It tells a reply that takes
    /// long to come in from none at all, except for a message of a WebSocket, which arrives as a whole.
    #[must_use]
    pub fn last_received(&self) -> Instant {
        self.reader.last_received()
    }
}

/// Tells whether each batch has as many replies as queries.
#[derive(Debug)]
struct Counting<M: StreamMode> {
    sizes: mpsc::UnboundedReceiver<usize>,
    /// The size of the batch that is being received.
    expected: Option<usize>,
    replies: Vec<M::Reply>,
    /// Whether the next line confirms that the mode has begun again.
    is_reopening: bool,
}

impl<M: StreamMode> Counting<M> {
    fn new(sizes: mpsc::UnboundedReceiver<usize>) -> Self {
        Counting { sizes, expected: None, replies: Vec::new(), is_reopening: false }
    }

    /// Takes the next line; returns the replies to a batch once they are complete.
    fn line(&mut self, line: &str) -> Result<Option<Vec<M::Reply>>, ClientError> {
        if std::mem::take(&mut self.is_reopening) {
            return match serde_json::from_str::<String>(line) {
                Ok(reply) if reply == stream::OK => Ok(None),
                _ => Err(out_of_step("the stream mode was not begun again")),
            };
        }
        let Some(expected) = self.expected.or_else(|| self.sizes.try_recv().ok()) else {
            return Err(out_of_step("a reply came that nothing was asked for"));
        };
        self.expected = Some(expected);
        match (self.replies.len() < expected, line == stream::OK) {
            (true, true) => Err(out_of_step("there are fewer replies than queries")),
            (false, false) => Err(out_of_step("there are more replies than queries")),
            (true, false) => {
                self.replies.push(M::decode(line)?);
                Ok(None)
            }
            (false, true) => {
                self.expected = None;
                self.is_reopening = true;
                Ok(Some(std::mem::take(&mut self.replies)))
            }
        }
    }
}

fn out_of_step(what: &str) -> ClientError {
    ClientError::Protocol(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::GetLines;

    /// What comes of lines after batches of these sizes were asked.
    fn count(sizes: &[usize], lines: &[&str]) -> Result<Vec<Vec<String>>, String> {
        let (sender, receiver) = mpsc::unbounded_channel();
        sizes.iter().for_each(|size| sender.send(*size).unwrap());
        let mut counting = Counting::<GetLines>::new(receiver);
        let mut batches = Vec::new();
        for line in lines {
            batches.extend(counting.line(line).map_err(|error| error.to_string())?);
        }
        Ok(batches)
    }

    #[test]
    fn batches_with_as_many_replies_as_queries_are_handed_out() {
        let lines = ["a", "", "ok", "\"ok\"", "c", "ok", "\"ok\""];
        assert_eq!(count(&[2, 1], &lines).unwrap(), [vec!["a", ""], vec!["c"]]);
        assert_eq!(count(&[2], &["a"]).unwrap(), [[""; 0]; 0]);
    }

    #[test]
    fn reply_too_many_or_too_few_is_an_error() {
        assert!(count(&[1], &["a", "a"]).unwrap_err().contains("more replies"));
        assert!(count(&[2, 1], &["a", "ok"]).unwrap_err().contains("fewer replies"));
        assert!(count(&[], &["a"]).unwrap_err().contains("nothing was asked"));
        assert!(count(&[1], &["a", "ok", "\"ok\"", "a"]).unwrap_err().contains("nothing was asked"));
        assert!(count(&[1, 1], &["a", "ok", "b"]).unwrap_err().contains("not begun again"));
    }
}
