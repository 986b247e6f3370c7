//! One connection and the mode that it is in.

use std::time::Duration;

use hashserv_protocol::{Call, Command, Framing, Hello, MessageReader, encode_message, stream};
use hashserv_transport::Connection;
use serde::de::DeserializeOwned;

use crate::ClientError;
use crate::exchange::{Progress, exchange};
use crate::reader::Reader;
use crate::send_state::SendState;
use crate::stream::{Query, StreamMode};
use crate::writer::Writer;

/// A connection to a server. After an error, or when a future of it was dropped, it is of no more use.
#[derive(Debug)]
pub(crate) struct Session {
    reader: Reader,
    writer: Writer,
    framing: Framing,
    progress: Progress,
    /// The command of the stream mode that the connection is in.
    mode: Option<Command>,
}

impl Session {
    pub(crate) fn new(connection: Connection, max_message: usize, hello: &Hello) -> Self {
        let framing = connection.framing();
        let (progress, sending) = (Progress::new(), SendState::default());
        let (receive, send) = connection.split();
        let messages = MessageReader::new(framing, max_message);
        Session {
            reader: Reader::new(receive, messages, progress.clone(), sending.clone()),
            writer: Writer::new(send, progress.clone(), sending, hello),
            framing,
            progress,
            mode: None,
        }
    }

    /// As [`Reader::is_idle`].
    pub(crate) async fn is_idle(&mut self) -> bool {
        self.reader.is_idle().await
    }

    /// Sends one request and returns its reply; leaves a stream mode first, in the same write.
    pub(crate) async fn call<R: DeserializeOwned>(
        &mut self,
        call: &Call<'_>,
        patience: Duration,
    ) -> Result<R, ClientError> {
        let was_streaming = self.append_end();
        encode_message(call, self.framing, self.writer.pending())
            .map_err(|error| ClientError::Unsendable(error.to_string()))?;
        let reader = &mut self.reader;
        let read = async {
            if was_streaming {
                reader.end_of_stream().await?;
            }
            reader.message().await
        };
        let reply = exchange(self.writer.flush(), read, &self.progress, patience).await?;
        serde_json::from_str(&reply).map_err(|_| ClientError::senseless(reply.as_bytes()))
    }

    /// Switches to a stream mode, unless the connection is in it.
    pub(crate) async fn switch<M: StreamMode>(&mut self, patience: Duration) -> Result<(), ClientError> {
        if self.mode == Some(M::COMMAND) {
            return Ok(());
        }
        let reply: String = self.call(&M::call(), patience).await?;
        if reply != stream::OK {
            return Err(ClientError::senseless(reply.as_bytes()));
        }
        self.mode = Some(M::COMMAND);
        Ok(())
    }

    /// Asks all queries, which were checked, in the mode that the connection was switched to.
    pub(crate) async fn batch<M: StreamMode, Q: Query<M>>(
        &mut self,
        queries: &[Q],
        patience: Duration,
    ) -> Result<Vec<M::Reply>, ClientError> {
        let reader = &mut self.reader;
        let read = async {
            let mut replies = Vec::with_capacity(queries.len());
            while replies.len() < queries.len() {
                reader.replies::<M>(&mut replies, queries.len()).await?;
            }
            Ok(replies)
        };
        exchange(self.writer.send_queries(queries), read, &self.progress, patience).await
    }

    /// Leaves the stream mode, if the connection is in one.
    pub(crate) async fn leave(&mut self, patience: Duration) -> Result<(), ClientError> {
        if !self.append_end() {
            return Ok(());
        }
        exchange(self.writer.flush(), self.reader.end_of_stream(), &self.progress, patience).await
    }

    pub(crate) fn framing(&self) -> Framing {
        self.framing
    }

    pub(crate) fn into_halves(self) -> (Writer, Reader) {
        (self.writer, self.reader)
    }

    /// Closes the connection in good order; see [`Connection::close`].
    pub(crate) async fn close(self) {
        close_halves(self.writer, self.reader).await;
    }

    /// Drops the session after a failure, in good order where the server is there to notice.
    pub(crate) async fn close_after(self, error: &ClientError) {
        if matches!(error, ClientError::Refused(_) | ClientError::Protocol(_)) {
            self.close().await;
        }
    }

    /// Has the stream mode ended with the next write; `false` where there is none.
    fn append_end(&mut self) -> bool {
        let was_streaming = self.mode.take().is_some();
        if was_streaming {
            self.writer.pending().extend_from_slice(stream::END.as_bytes());
            self.writer.pending().push(b'\n');
        }
        was_streaming
    }
}

/// Closes the connection that the halves belong to.
pub(crate) async fn close_halves(writer: Writer, reader: Reader) {
    Connection::join(reader.into_half(), writer.into_half()).close().await;
}
