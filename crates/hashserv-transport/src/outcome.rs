//! Outcome of one attempt to receive, on any transport.

use tokio_tungstenite::tungstenite;

/// Amount that one attempt to receive brought.
pub(crate) struct Outcome {
    /// In bytes.
    pub(crate) received: usize,
    pub(crate) end: Option<End>,
}

/// Reason why nothing more can be received.
pub(crate) enum End {
    Closed,
    /// The peer closed because a message of ours was longer than it takes.
    MessageRefused,
    /// On a stream it is an I/O error.
    Broken(tungstenite::Error),
}

impl<E: Into<tungstenite::Error>> From<E> for End {
    fn from(error: E) -> Self {
        End::Broken(error.into())
    }
}
