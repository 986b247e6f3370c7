//! From PostgreSQL's errors to ours.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::StorageError;

use crate::answers::SharedFailure;

/// Codes of PostgreSQL (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).
mod code {
    pub(super) const CONNECTION_CLASS: &str = "08";
    pub(super) const DATA_CLASS: &str = "22";
    pub(super) const INTEGRITY_CLASS: &str = "23";
    /// A text too long for an index, among others.
    pub(super) const LIMIT_CLASS: &str = "54";
    pub(super) const READ_ONLY: &str = "25006";
    pub(super) const SERIALIZATION: &str = "40001";
    pub(super) const DEADLOCK: &str = "40P01";
    pub(super) const TOO_MANY_CONNECTIONS: &str = "53300";
    pub(super) const LOCK_TIMEOUT: &str = "55P03";
    pub(super) const QUERY_CANCELED: &str = "57014";
    pub(super) const INSUFFICIENT_PRIVILEGE: &str = "42501";
    /// Stopping, crashed, starting, dropped: what an administrator does to a server.
    pub(super) const SHUTDOWN_CLASS: &str = "57P";
}

/// Why something failed; several callers may be told of it.
#[derive(Clone, Debug)]
pub(crate) struct Failure(Arc<Cause>);

#[derive(Debug, thiserror::Error)]
enum Cause {
    /// Before anything was done.
    #[error(transparent)]
    Beginning(sqlx::Error),
    #[error(transparent)]
    Running(sqlx::Error),
    #[error("no answer for {} seconds", .0.as_secs())]
    NoAnswer(Duration),
    #[error("all connections were in use for {} seconds", .0.as_secs())]
    AllInUse(Duration),
    #[error("closed")]
    Closed,
}

/// The source of a [`StorageError`] whose cause several callers share.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedSource(Arc<Cause>);

impl Failure {
    /// A failure to connect, or to begin a transaction.
    pub(crate) fn before_work(error: sqlx::Error) -> Self {
        Failure(Arc::new(Cause::Beginning(error)))
    }

    pub(crate) fn no_answer(limit: Duration) -> Self {
        Failure(Arc::new(Cause::NoAnswer(limit)))
    }

    pub(crate) fn all_in_use(limit: Duration) -> Self {
        Failure(Arc::new(Cause::AllInUse(limit)))
    }

    pub(crate) fn closed() -> Self {
        Failure(Arc::new(Cause::Closed))
    }

    /// Whether the same may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        self.is_rolled_back() || self.is_of_connection()
    }

    /// Whether it is certain that nothing was done, and may succeed a little later.
    pub(crate) fn is_rolled_back(&self) -> bool {
        match (&*self.0, self.code().as_deref()) {
            (Cause::Beginning(_), _) => self.is_of_connection(),
            (Cause::Running(_), Some(code)) => [code::SERIALIZATION, code::DEADLOCK].contains(&code),
            _ => false,
        }
    }

    /// Whether the connection is of no use any more, or might lead to a better server when made anew.
    pub(crate) fn breaks_connection(&self) -> bool {
        match &*self.0 {
            Cause::NoAnswer(_) => true,
            // A server that was the primary may be none any more.
            _ => self.is_of_connection() || self.code().as_deref() == Some(code::READ_ONLY),
        }
    }

    fn is_of_connection(&self) -> bool {
        let (Cause::Beginning(error) | Cause::Running(error)) = &*self.0 else { return false };
        is_of_connection(error)
    }

    fn code(&self) -> Option<String> {
        let (Cause::Beginning(error) | Cause::Running(error)) = &*self.0 else { return None };
        code_of(error)
    }
}

impl SharedFailure for Failure {
    fn storage_error(&self) -> StorageError {
        match &*self.0 {
            Cause::Closed => return StorageError::Closed,
            Cause::NoAnswer(_) | Cause::AllInUse(_) => return StorageError::Timeout(self.0.to_string()),
            Cause::Beginning(error) if is_of_connection(error) => {
                return StorageError::Timeout(format!("no connection to it: {error}"));
            }
            Cause::Beginning(_) | Cause::Running(_) => {}
        }
        match self.code().as_deref() {
            Some(code::READ_ONLY) => StorageError::ReadOnly,
            Some(code::LOCK_TIMEOUT) => {
                StorageError::Timeout("another server held the lock for writing for too long".to_owned())
            }
            Some(code::QUERY_CANCELED) => {
                StorageError::Timeout("a statement was not done in time and was cancelled".to_owned())
            }
            _ => StorageError::backend(SharedSource(Arc::clone(&self.0))),
        }
    }

    /// Unless what was to be written is at fault.
    fn concerns_all(&self) -> bool {
        let classes = [code::DATA_CLASS, code::INTEGRITY_CLASS, code::LIMIT_CLASS];
        !self.code().is_some_and(|code| classes.iter().any(|class| code.starts_with(class)))
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Failure(Arc::new(Cause::Running(error)))
    }
}

/// Whether it is the connection, or the state of the server, that failed.
pub(crate) fn is_of_connection(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => true,
        error => code_of(error).is_some_and(|code| {
            code.starts_with(code::CONNECTION_CLASS)
                || code.starts_with(code::SHUTDOWN_CLASS)
                || code == code::TOO_MANY_CONNECTIONS
        }),
    }
}

/// Whether the user of the database lacks a right.
pub(crate) fn is_of_rights(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some(code::INSUFFICIENT_PRIVILEGE)
}

/// Whether the database takes no writes.
pub(crate) fn is_read_only(error: &sqlx::Error) -> bool {
    code_of(error).as_deref() == Some(code::READ_ONLY)
}

/// The error of a server that gave no answer.
pub(crate) fn timed_out() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"))
}

fn code_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}
