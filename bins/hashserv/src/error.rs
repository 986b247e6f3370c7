//! Reasons why the server cannot start.

use std::io;
use std::path::PathBuf;

use hashserv_protocol::Address;
use hashserv_service::{ServiceError, UnknownPermissions};
use hashserv_storage::StorageError;
use hashserv_storage_sql::InvalidDatabaseName;
use hashserv_transport::TransportError;

/// Reason why the server cannot start, for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("Read-only hashserv cannot pull from an upstream server")]
    ReadOnlyUpstream,
    #[error("--upstream: this server itself listens on {0}; name another server")]
    OwnUpstream(Address),
    #[error("cannot read the token of the upstream from {}", path.display())]
    UpstreamTokenFile { path: PathBuf, source: io::Error },
    #[error("the file for the token of the upstream is empty: {}", .0.display())]
    EmptyTokenFile(PathBuf),
    #[error("--upstream-ca")]
    UpstreamCa(#[source] TransportError),
    #[error("--database")]
    DatabaseName(#[from] InvalidDatabaseName),
    #[error("--anon-perms")]
    Permissions(#[from] UnknownPermissions),
    #[error("--anon-perms: {0} cannot be given to anonymous clients; make a user who has it")]
    AnonymousPermission(&'static str),
    #[error(
        "--cache-entries: {entries} look-ups take about {} GiB, and there are {} GiB of memory: ask for fewer, \
         or leave it out", needed >> 30, memory >> 30
    )]
    TooManyEntries { entries: usize, needed: u64, memory: u64 },
    #[error("cannot create or update administrator {name:?}")]
    Admin { name: String, source: ServiceError },
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(
        "the system allows {limit} open files, and the server needs {needed} at least: raise the limit \
         (ulimit -n, LimitNOFILE)"
    )]
    TooFewFiles { limit: u64, needed: u64 },
    #[error(
        "a file of the database was deleted or replaced while the server used it; start the server again to serve what \
         is there now"
    )]
    DatabaseLost,
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
}

impl StartError {
    /// The exit status: 2 for a setting that is wrong in itself, wherever it stands, which only a person can
    /// mend; 1 for what may be otherwise at the next start, files included that a setting names.
    pub(crate) fn status(&self) -> u8 {
        match self {
            StartError::ReadOnlyUpstream
            | StartError::OwnUpstream(_)
            | StartError::DatabaseName(_)
            | StartError::Permissions(_)
            | StartError::AnonymousPermission(_)
            | StartError::TooManyEntries { .. } => 2,
            StartError::UpstreamTokenFile { .. }
            | StartError::EmptyTokenFile(_)
            | StartError::UpstreamCa(_)
            | StartError::TooFewFiles { .. }
            | StartError::DatabaseLost
            | StartError::Admin { .. }
            | StartError::Storage(_)
            | StartError::Transport(_)
            | StartError::System { .. } => 1,
        }
    }
}
