//! Refusals, which peers are told, and failures, which they never are.
//!
//! BitBake takes an explained error for the end of the build, and a connection that is closed without a word for
//! a server that is away, without which it goes on. So what the peer did wrong is a [`Refused`], and trouble of the
//! server is a [`Failed`]. No `?` turns one into the other; a [`Fault`] is either.

use hashserv_log::one_line;
use hashserv_protocol::reply::Refusal;
use hashserv_protocol::stream::StreamError;
use hashserv_protocol::{LineTooLong, MessageError, RequestError};
use hashserv_service::{Denial, Failure, ServiceError, UnknownPermissions};
use tokio::task::JoinError;

/// Longest message to a peer, in characters. It may quote what the peer sent, and goes to the log too.
const MAX_MESSAGE_CHARACTERS: usize = 400;

/// A request is refused: the peer did something wrong. It is told why, and the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    message: String,
}

/// A request failed: the server is not well. The connection is closed without a reply, and the cause is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    cause: String,
}

/// A request that is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Refused(Refused),
    Failed(Failed),
}

impl Refused {
    /// A refusal with a message for the peer, of which it is told 400 characters at most.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE_CHARACTERS) {
            message.truncate(end);
            message.push('…');
        }
        Refused { message }
    }

    /// Message for the peer.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The reply.
    pub(crate) fn to_reply(&self) -> Refusal {
        Refusal::new(self.message.as_str())
    }
}

impl Failed {
    /// A failure and its cause in one line for the log.
    pub(crate) fn new(cause: impl Into<String>) -> Self {
        Failed { cause: cause.into() }
    }

    /// Cause for the log.
    pub(crate) fn cause(&self) -> &str {
        &self.cause
    }
}

/// Texts of a denial are for the peer.
impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Refused::new(denial.to_string())
    }
}

/// Texts of a failure are for the log.
impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Failed::new(one_line(&failure))
    }
}

impl From<ServiceError> for Fault {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Denied(denial) => Fault::Refused(denial.into()),
            ServiceError::Failed(failure) => Fault::Failed(failure.into()),
        }
    }
}

/// Makes refusals of errors in what a peer sent.
macro_rules! refused {
    ($($error:ty),*) => {$(
        impl From<$error> for Refused {
            fn from(error: $error) -> Self {
                Refused::new(error.to_string())
            }
        }

        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Fault::Refused(error.into())
            }
        }
    )*};
}

refused!(RequestError, MessageError, StreamError, LineTooLong, UnknownPermissions);

impl From<JoinError> for Failed {
    fn from(error: JoinError) -> Self {
        Failed::new(format!("a look-up was given up: {error}"))
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Failed::new(format!("a reply could not be written: {error}"))
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Fault::Failed(error.into())
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Fault::Refused(refused)
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        Fault::Failed(failed)
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::StorageError;

    use super::*;

    #[test]
    fn trouble_of_the_server_is_never_told() {
        for (error, cause) in [
            (
                StorageError::backend("/secret/path is full").into(),
                "the database failed: /secret/path is full",
            ),
            (StorageError::ReadOnly.into(), "the database is read-only"),
            (StorageError::Closed.into(), "the database is closed"),
            (Failure::TooManyTokens, "more tokens are asked for than are handed out"),
        ] {
            assert_eq!(Fault::from(ServiceError::Failed(error)), Fault::Failed(Failed::new(cause)));
        }
    }

    #[test]
    fn a_peer_is_told_no_more_than_it_can_use() {
        let refused = Refused::new("é".repeat(1_000_000));
        assert_eq!(refused.message(), format!("{}…", "é".repeat(MAX_MESSAGE_CHARACTERS)));
        let full = "é".repeat(MAX_MESSAGE_CHARACTERS);
        assert_eq!(Refused::new(full.as_str()).message(), full);
    }
}
