//! The receiving side of a session.

use hashserv_protocol::reply::Refusal;
use hashserv_protocol::{LineTooLong, MAX_LINE, MessageReader};
use hashserv_transport::ReceiveHalf;
use tokio::time::Instant;

use crate::ClientError;
use crate::exchange::Progress;
use crate::send_state::SendState;
use crate::stream::StreamMode;

/// What every refusal contains.
const INVOKE_ERROR: &str = "\"invoke-error\"";

/// Start of what a TLS server answers to anything else, which is no line.
const TLS_ALERT: [u8; 2] = [21, 3];

/// The receiving half of a connection, and what has arrived of a message in chunks.
#[derive(Debug)]
pub(crate) struct Reader {
    half: ReceiveHalf,
    messages: MessageReader,
    progress: Progress,
    /// State of the other half, which may explain the end of the connection.
    sending: SendState,
    last_received: Instant,
}

impl Reader {
    pub(crate) fn new(
        half: ReceiveHalf,
        messages: MessageReader,
        progress: Progress,
        sending: SendState,
    ) -> Self {
        Reader { half, messages, progress, sending, last_received: Instant::now() }
    }

    pub(crate) fn into_half(self) -> ReceiveHalf {
        self.half
    }

    /// When anything last arrived; at first, when the connection was opened.
    pub(crate) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// The next JSON message; a refusal is an error. Cancellation safe.
    pub(crate) async fn message(&mut self) -> Result<String, ClientError> {
        loop {
            while let Some(line) = self.half.lines().next_raw_line()? {
                if let Some(text) = self.messages.line(line)? {
                    check_refusal(&text)?;
                    return Ok(text.into_owned());
                }
            }
            self.fill().await?;
        }
    }

    /// Adds stream replies to `replies` until there are `limit`: waits for one and takes along what else
    /// has arrived. Cancellation safe.
    pub(crate) async fn replies<M: StreamMode>(
        &mut self,
        replies: &mut Vec<M::Reply>,
        limit: usize,
    ) -> Result<(), ClientError> {
        let before = replies.len();
        while replies.len() == before && before < limit {
            while replies.len() < limit
                && let Some(line) = self.half.lines().next_line()?
            {
                replies.push(stream_line(line).and_then(M::decode)?);
            }
            if replies.len() == before {
                self.fill().await?;
            }
        }
        Ok(())
    }

    /// Returns the next line in a stream mode, if one has arrived; a refusal is an error.
    pub(crate) fn buffered_line(&mut self) -> Result<Option<&str>, ClientError> {
        self.half.lines().next_line()?.map(stream_line).transpose()
    }

    /// Takes the bare line that ends a stream mode. Cancellation safe.
    pub(crate) async fn end_of_stream(&mut self) -> Result<(), ClientError> {
        loop {
            if let Some(line) = self.half.lines().next_line()? {
                return match stream_line(line)? {
                    hashserv_protocol::stream::OK => Ok(()),
                    other => Err(ClientError::senseless(other.as_bytes())),
                };
            }
            self.fill().await?;
        }
    }

    /// Whether the connection is fit for a further request, as far as can be told without waiting: the
    /// server has neither closed it nor said anything unasked.
    pub(crate) async fn is_idle(&mut self) -> bool {
        self.half.lines().is_empty()
            && tokio::select! {
                biased;
                _ = self.half.receive() => false,
                () = std::future::ready(()) => true,
            }
    }

    /// Waits until more has arrived. Cancellation safe.
    pub(crate) async fn fill(&mut self) -> Result<(), ClientError> {
        let received = tokio::select! {
            // What has arrived is of use even if the sending half failed.
            biased;
            received = self.half.receive() => received.map_err(ClientError::Transport),
            // Not every transport tells the server that only the sending half is gone.
            () = self.sending.given_up() => Ok(false),
        };
        if !matches!(received, Ok(true)) && self.half.lines().room().starts_with(&TLS_ALERT) {
            let hint = "it speaks TLS; should the address begin with wss://?";
            return Err(ClientError::Protocol(hint.to_owned()));
        }
        if !received.map_err(|error| self.sending.explain(error))? {
            return Err(self.sending.explain(ClientError::Closed));
        }
        self.progress.touch();
        self.last_received = Instant::now();
        Ok(())
    }
}

/// The text of a line in a stream mode; a refusal is an error.
fn stream_line(line: &[u8]) -> Result<&str, ClientError> {
    // Over a WebSocket the bound of the line buffer is that of whole messages.
    if line.len() > MAX_LINE {
        return Err(LineTooLong { max: MAX_LINE }.into());
    }
    let text = std::str::from_utf8(line).map_err(|_| ClientError::senseless(line))?;
    check_refusal(text)?;
    Ok(text)
}

fn check_refusal(text: &str) -> Result<(), ClientError> {
    // What a task hashed may contain the word too: only an object with that key is a refusal.
    if text.starts_with('{')
        && text.contains(INVOKE_ERROR)
        && let Ok(refusal) = serde_json::from_str::<Refusal>(text)
    {
        return Err(ClientError::Refused(refusal.error.message));
    }
    Ok(())
}
