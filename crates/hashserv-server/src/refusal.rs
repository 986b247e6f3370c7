//! What a peer is told when its request is refused.

use hashserv_protocol::reply::Refusal;
use hashserv_protocol::stream::StreamError;
use hashserv_protocol::{LineTooLong, MessageError, RequestError};
use hashserv_service::{ServiceError, UnknownPermissions};
use hashserv_storage::StorageError;
use tokio::task::JoinError;

use crate::one_line;

/// How much a peer is told, in characters. What it sent may be quoted in it, and it goes to the log too.
const MAX_MESSAGE: usize = 400;

/// A request is refused; the peer is told why, and the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    message: String,
    /// What failed here, in one line for the log.
    failure: Option<String>,
}

impl Refused {
    /// A refusal with a message for the peer, of which it is told 400 characters at most.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
            message.truncate(end);
            message.push('…');
        }
        Refused { message, failure: None }
    }

    /// A refusal for something that the peer can do nothing about.
    fn internal(failure: String) -> Self {
        Refused { failure: Some(failure), ..Refused::new("internal error") }
    }

    /// What the peer is told.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What failed, where it is not the peer's fault.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The reply.
    pub(crate) fn to_reply(&self) -> Refusal {
        Refusal::new(self.message.as_str())
    }
}

/// The one place that decides what a peer may read of an error. Details of the database go to the log.
impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Storage(StorageError::ReadOnly) => Refused::new(
                "The database of this server can only be read; report to a server that can write it",
            ),
            ServiceError::Storage(error) => Refused::internal(one_line(&error)),
            error => Refused::new(error.to_string()),
        }
    }
}

impl From<RequestError> for Refused {
    fn from(error: RequestError) -> Self {
        Refused::new(error.to_string())
    }
}

impl From<MessageError> for Refused {
    fn from(error: MessageError) -> Self {
        Refused::new(error.to_string())
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        Refused::new(error.to_string())
    }
}

impl From<LineTooLong> for Refused {
    fn from(error: LineTooLong) -> Self {
        Refused::new(error.to_string())
    }
}

impl From<UnknownPermissions> for Refused {
    fn from(error: UnknownPermissions) -> Self {
        Refused::new(error.to_string())
    }
}

impl From<JoinError> for Refused {
    fn from(error: JoinError) -> Self {
        Refused::internal(format!("a look-up was given up: {error}"))
    }
}

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        Refused::internal(format!("a reply could not be written: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_the_database_are_not_told() {
        let error = ServiceError::Storage(StorageError::backend("/secret/path is full"));
        let refused = Refused::from(error);
        assert_eq!(refused.message(), "internal error");
        assert_eq!(refused.failure(), Some("the database failed: /secret/path is full"));
    }

    #[test]
    fn a_peer_is_told_no_more_than_it_can_use() {
        let refused = Refused::new("é".repeat(1_000_000));
        assert_eq!(refused.message(), format!("{}…", "é".repeat(MAX_MESSAGE)));
        let full = "é".repeat(MAX_MESSAGE);
        assert_eq!(Refused::new(full.as_str()).message(), full);
    }
}
