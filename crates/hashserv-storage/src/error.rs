//! What can go wrong in storage.

use std::error::Error;

/// Why a storage operation failed.
///
/// The texts are for the log of the server, not for its peers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A write was asked of a database that cannot be written.
    #[error("the database is read-only")]
    ReadOnly,
    /// The storage was closed, or is being closed.
    #[error("the database is closed")]
    Closed,
    /// A file of the database was deleted or replaced while it was in use.
    #[error("a file of the database was deleted or replaced")]
    Lost,
    /// A wait in front of the database exceeded its bound: it is down, or overloaded.
    #[error("the database did not answer in time: {0}")]
    Timeout(String),
    /// The database cannot be opened or created; `what` names it, with secrets masked.
    #[error("cannot open the database {what}")]
    Open {
        /// The database, as a person knows it.
        what: String,
        /// What the backend says.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The setting that names the database is wrong in itself: no other attempt can succeed with it. `what` is the
    /// name, with secrets masked.
    #[error("cannot open the database {what}")]
    WrongSetting {
        /// The database, as it was named.
        what: String,
        /// What is wrong.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The database failed to do what it was asked.
    #[error("the database failed")]
    Backend(#[source] Box<dyn Error + Send + Sync>),
}

impl StorageError {
    /// Wraps an error of a backend's driver.
    pub fn backend(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        StorageError::Backend(source.into())
    }
}
