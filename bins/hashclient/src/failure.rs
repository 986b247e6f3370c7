//! Why hashclient fails.

use std::io;

use hashserv_client::{ClientError, ProxyError, TransportError};

/// Why a command failed; the chain of its sources is printed in one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    #[error("line {number} of standard input: {reason}")]
    InputLine { number: u64, reason: String },
    /// A line of standard input that would not do what was meant.
    #[error("line {number} of standard input: {reason}")]
    UsageLine { number: u64, reason: String },
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error(
        "the new token of '{username}' is lost (refresh-token makes another one): cannot write to standard output"
    )]
    TokenLost { username: String, source: io::Error },
    #[error("standard output is closed, and the new token would be lost; nothing was asked of the server")]
    ClosedOutput,
    #[error("--tls-ca")]
    Authorities(#[source] TransportError),
    #[error("{path} has more than {max} bytes")]
    FileTooLong { path: String, max: u64 },
    /// What was asked for would destroy too much.
    #[error("{0}")]
    Unconfirmed(String),
    #[error("cannot write JSON")]
    Json(#[from] serde_json::Error),
    #[error("cannot read {path}")]
    File { path: String, source: io::Error },
    #[error("cannot start the asynchronous runtime")]
    Runtime(#[source] io::Error),
    #[error("cannot finish the measurement")]
    Crashed(#[from] tokio::task::JoinError),
    /// A report that the server answered without recording it.
    #[error("{0}")]
    Unrecorded(String),
    /// What was asked for does not exist.
    #[error("{0}")]
    Missing(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
}

impl Failure {
    /// Whether whoever read the output has had enough, which needs no message.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit status.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Failure::Usage(_) | Failure::UsageLine { .. } => 2,
            // A variable of the environment is wrong.
            Failure::Client(ClientError::Connect(TransportError::Proxy {
                source: ProxyError::Unusable(_),
                ..
            })) => 2,
            _ => 1,
        }
    }
}
