//! Why the server cannot start.

use std::io;
use std::path::PathBuf;

use hashserv_protocol::{Address, AddressError};
use hashserv_service::{ServiceError, UnknownPermissions};
use hashserv_storage::StorageError;
use hashserv_storage_sql::InvalidDatabaseName;
use hashserv_transport::TransportError;

/// Why the server cannot start, for a person.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("the environment: {0}")]
    Environment(String),
    #[error("--bind")]
    Address(#[from] AddressError),
    #[error("Read-only hashserv cannot pull from an upstream server")]
    ReadOnlyUpstream,
    #[error("--upstream")]
    UpstreamAddress(#[source] AddressError),
    #[error("--upstream: this server itself listens on {0}; name another server")]
    OwnUpstream(Address),
    #[error(
        "--upstream-user and a token belong together (--upstream-token-file, HASHSERVER_UPSTREAM_TOKEN or \
         --upstream-token): give both or none"
    )]
    IncompleteUpstreamLogin,
    #[error("the token of the upstream is given twice, as text and as file: give one of them")]
    TwoUpstreamTokens,
    #[error("cannot read the token of the upstream from {}", path.display())]
    UpstreamTokenFile { path: PathBuf, source: io::Error },
    #[error("the file for the token of the upstream is empty: {}", .0.display())]
    EmptyTokenFile(PathBuf),
    #[error("--upstream-ca")]
    UpstreamCa(#[source] TransportError),
    #[error("{0} must be more than 0")]
    NoTime(&'static str),
    #[error("{option} must be a number of seconds from 0 to {most}")]
    Seconds { option: &'static str, most: f64 },
    #[error("--database")]
    DatabaseName(#[from] InvalidDatabaseName),
    #[error("--anon-perms")]
    Permissions(#[from] UnknownPermissions),
    #[error("--anon-perms: {0} cannot be given to anonymous clients; make a user who has it")]
    AnonymousPermission(&'static str),
    #[error("{option}: {value:?} is none of {choices}")]
    Choice { option: &'static str, value: String, choices: &'static str },
    #[error(
        "--cache-entries: {entries} look-ups take about {} GiB, and there are {} GiB of memory: ask for fewer, \
         or leave it out", needed >> 30, memory >> 30
    )]
    TooManyEntries { entries: usize, needed: u64, memory: u64 },
    #[error("{option} must be from {least} to {most}")]
    OutOfRange { option: &'static str, least: usize, most: usize },
    #[error("--tls-cert and --tls-key belong together: give both or none")]
    IncompleteCertificate,
    #[error(
        "--admin-user and --admin-password (or HASHSERVER_ADMIN_PASSWORD) belong together: give both or none"
    )]
    IncompleteAdmin,
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
        "the database file was deleted or replaced while the server used it; start the server again to serve what \
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
            StartError::Environment(_)
            | StartError::Address(_)
            | StartError::ReadOnlyUpstream
            | StartError::UpstreamAddress(_)
            | StartError::OwnUpstream(_)
            | StartError::IncompleteUpstreamLogin
            | StartError::TwoUpstreamTokens
            | StartError::NoTime(_)
            | StartError::Seconds { .. }
            | StartError::DatabaseName(_)
            | StartError::Permissions(_)
            | StartError::AnonymousPermission(_)
            | StartError::Choice { .. }
            | StartError::TooManyEntries { .. }
            | StartError::OutOfRange { .. }
            | StartError::IncompleteCertificate
            | StartError::IncompleteAdmin => 2,
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

    /// A variable of the environment that makes no sense. What clap says of it in its first line is enough.
    pub(crate) fn environment(error: &clap::Error) -> Self {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        StartError::Environment(line.trim_start_matches("error: ").to_owned())
    }
}
