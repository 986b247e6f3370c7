//! Reasons why the server cannot start.

use std::ffi::OsString;
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
    #[error("--upstream-token-file: {} {problem}", path.display())]
    WrongTokenFile { path: PathBuf, problem: &'static str },
    #[error("{option}: {problem}")]
    Login { option: &'static str, problem: String },
    #[error("--upstream: {address} {problem}")]
    Upstream { address: Address, problem: &'static str },
    #[error("--bind: {} and {} are one and the same; name each address once", .0[0], .0[1])]
    SameAddress(Box<[Address; 2]>),
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
    #[error("--tls-dir: no self-signed certificate can be read from {} or made there; name a folder that the server may write to, or give \
             a certificate by --tls-cert and --tls-key", directory.display())]
    TlsDirectory { directory: PathBuf, source: Box<TransportError> },
    #[error("cannot create or update administrator {name:?}")]
    Admin { name: String, source: ServiceError },
    #[error("--database: {} is a directory; name a file in it", .0.display())]
    DatabaseIsDirectory(PathBuf),
    #[error("--read-only: the database {} does not exist and cannot be made here; start the server once where it may \
             write to the folder, which makes the database", path.display())]
    MissingDatabase { path: PathBuf, source: StorageError },
    #[error(
        "--admin-user: to keep the administrator the database must be writable, also with --read-only; leave the \
             option out where the administrator is in the database already"
    )]
    ReadOnlyAdmin(#[source] StorageError),
    #[error("--database")]
    DatabaseSetting(#[source] StorageError),
    #[error(transparent)]
    Storage(StorageError),
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
    #[error("stopped at once by a second signal; requests may be left unanswered")]
    SecondSignal,
    #[error(
        "TOKIO_WORKER_THREADS: {value:?} is no number from 1 to {most}; leave the variable out for as many threads as \
         there are processors"
    )]
    WorkerThreads { value: OsString, most: usize },
    #[error("cannot {what}")]
    System { what: &'static str, source: io::Error },
}

impl From<StorageError> for StartError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::WrongSetting { .. } => StartError::DatabaseSetting(error),
            error => StartError::Storage(error),
        }
    }
}

impl StartError {
    /// The exit status: 2 for a setting that is wrong in itself, wherever it stands, which only a person can
    /// mend; 1 for what may be otherwise at the next start, files included that a setting names and that cannot be
    /// read. What was read and can never do, such as a key of another certificate, is a wrong setting too.
    pub(crate) fn status(&self) -> u8 {
        match self {
            StartError::ReadOnlyUpstream
            | StartError::OwnUpstream(_)
            | StartError::DatabaseName(_)
            | StartError::Permissions(_)
            | StartError::AnonymousPermission(_)
            | StartError::WrongTokenFile { .. }
            | StartError::Login { .. }
            | StartError::Upstream { .. }
            | StartError::SameAddress(_)
            | StartError::DatabaseSetting(_)
            | StartError::WorkerThreads { .. }
            | StartError::Transport(TransportError::KeyMismatch { .. })
            | StartError::TooManyEntries { .. } => 2,
            StartError::UpstreamTokenFile { .. }
            | StartError::EmptyTokenFile(_)
            | StartError::UpstreamCa(_)
            | StartError::TooFewFiles { .. }
            | StartError::DatabaseLost
            | StartError::DatabaseIsDirectory(_)
            | StartError::MissingDatabase { .. }
            | StartError::ReadOnlyAdmin(_)
            | StartError::TlsDirectory { .. }
            | StartError::SecondSignal
            | StartError::Admin { .. }
            | StartError::Storage(_)
            | StartError::Transport(_)
            | StartError::System { .. } => 1,
        }
    }
}
