//! What a peer is told when its request is refused.

use hashserv_protocol::reply::Refusal;
use hashserv_protocol::stream::StreamError;
use hashserv_protocol::{LineTooLong, MessageError, RequestError};
use hashserv_service::{ServiceError, UnknownPermissions};
use hashserv_storage::StorageError;
use tracing::error;

use crate::one_line::one_line;

/// A request is refused; the peer is told why, and the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused(String);

impl Refused {
    /// A refusal with a message for the peer.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Refused(message.into())
    }

    /// What the peer is told.
    pub(crate) fn message(&self) -> &str {
        &self.0
    }

    /// The reply.
    pub(crate) fn to_reply(&self) -> Refusal {
        Refusal::new(self.0.as_str())
    }
}

/// The one place that decides what a peer may read of an error. Details of the database go to the log.
impl From<ServiceError> for Refused {
    fn from(error: ServiceError) -> Self {
        match error {
            ServiceError::Storage(StorageError::ReadOnly) => Refused::new(
                "The database of this server can only be read; report to a server that can write it",
            ),
            ServiceError::Storage(error) => {
                error!("a request failed: {}", one_line(&error));
                Refused::new("internal error")
            }
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

impl From<serde_json::Error> for Refused {
    fn from(error: serde_json::Error) -> Self {
        error!("a reply could not be written: {error}");
        Refused::new("internal error")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_of_the_database_are_not_told() {
        let error = ServiceError::Storage(StorageError::backend("/secret/path is full"));
        assert_eq!(Refused::from(error).message(), "internal error");
    }
}
