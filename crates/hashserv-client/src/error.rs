//! What can go wrong with a call.

use std::convert::Infallible;
use std::time::Duration;

use hashserv_protocol::{AddressError, Command, LineTooLong, MessageError};
use hashserv_transport::TransportError;

/// How much of a senseless reply is quoted, in characters.
const QUOTED: usize = 80;

/// Why a call failed.
///
/// The text says what failed; the source, where there is one, says why and is not repeated in the text:
/// print the whole chain, as [`one_line`](hashserv_log::one_line) does. No token is ever part of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refuses the request, and closed the connection. The text is the server's.
    #[error("{0}")]
    Refused(String),
    /// The server closed the connection without a reply. Whether it did what it was asked is not known.
    #[error("the server closed the connection without a reply; its log has the cause")]
    Closed,
    /// Nothing moved for the time that the server is given. Whether it did what it was asked is not known.
    #[error("the server did not reply within {} s", after.as_secs_f32())]
    Timeout {
        /// The time that was given.
        after: Duration,
    },
    /// The reply to a command that changes what the server has did not arrive. It may have been carried out, and is
    /// not to be repeated unseen.
    #[error("{} may have been carried out ({advice}), its reply was lost", command.name())]
    InDoubt {
        /// The command.
        command: Command,
        /// What to do about it.
        advice: &'static str,
        /// Why there is no reply.
        source: Box<ClientError>,
    },
    /// The reply is not one that a hash equivalence server gives to this request.
    #[error("the server's reply makes no sense: {0}")]
    Protocol(String),
    /// The request cannot be sent, since the server would take it for something else. Nothing was sent.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// The other half of a pipeline failed or was dropped, which ended the connection.
    #[error("sending failed: {cause}")]
    SendFailed {
        /// The error of the sending half and its causes, in one line.
        cause: String,
        /// Whether the connection was lost, so that another attempt may help.
        is_lost: bool,
    },
    /// The text is not the address of a server. Nothing was sent.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The server cannot be connected to.
    #[error(transparent)]
    Connect(TransportError),
    /// An established connection broke. Whether the server did what it was asked is not known.
    #[error(transparent)]
    Transport(TransportError),
}

impl ClientError {
    /// Whether an established connection was lost before the reply came, so that another attempt may help. A
    /// server that does not know a command may close the connection too.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        match self {
            ClientError::Transport(error) => !matches!(
                error,
                TransportError::MessageTooLarge { .. } | TransportError::MessageRefused { .. }
            ),
            ClientError::SendFailed { is_lost, .. } => *is_lost,
            ClientError::InDoubt { source, .. } => source.is_lost(),
            error => matches!(error, ClientError::Closed),
        }
    }

    /// Whether the server could not be reached for a reason that may be over in a moment: it, or one behind a
    /// proxy, is restarting.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, ClientError::Connect(error) if error.is_transient())
    }

    /// Reports whether the server says why it does not do what it was asked, which explains that sending failed.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            ClientError::Refused(_) | ClientError::Transport(TransportError::MessageRefused { .. })
        )
    }

    /// A reply that makes no sense, quoted in part.
    pub(crate) fn senseless(reply: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&reply[..reply.len().min(4 * QUOTED)]);
        let quoted: String = text.chars().take(QUOTED).collect();
        let is_http = reply.starts_with(b"HTTP/");
        let hint = if is_http { "; it speaks HTTP, should the address begin with ws://?" } else { "" };
        ClientError::Protocol(format!("{quoted:?}{hint}"))
    }
}

impl From<Infallible> for ClientError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl From<LineTooLong> for ClientError {
    fn from(error: LineTooLong) -> Self {
        ClientError::Protocol(error.to_string())
    }
}

impl From<MessageError> for ClientError {
    fn from(error: MessageError) -> Self {
        ClientError::Protocol(error.to_string())
    }
}
