//! Reasons for the end of a session.

use hashserv_transport::TransportError;

use crate::refusal::{Failed, Fault, Refused};

/// Reason for the end of a session.
#[derive(Debug)]
pub(super) enum End {
    /// The client is gone, or said so, or the server stops and nothing is left to answer.
    Quiet,
    /// A request is refused; the client is told why.
    Refused(Refused),
    /// The same where the client must not be told: it would take any line for a reply.
    RefusedInSilence(Refused),
    /// The server is not well: the client is told nothing.
    Failed(Failed),
    /// The connection failed.
    Disconnected(TransportError),
    /// The client does not read its replies.
    Stalled,
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        End::Refused(refused)
    }
}

impl From<Failed> for End {
    fn from(failed: Failed) -> Self {
        End::Failed(failed)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refused) => refused.into(),
            Fault::Failed(failed) => failed.into(),
        }
    }
}

impl From<TransportError> for End {
    fn from(error: TransportError) -> Self {
        End::Disconnected(error)
    }
}
