//! Storage of a hash equivalence server in SQLite and PostgreSQL.
//!
//! [`open`] opens the database that a [`DatabaseName`] names and gives it as a
//! [`Storage`]; nothing else needs to know which backend it is. Each
//! backend is a feature, `sqlite` and `postgres`.
//!
//! The tables are those of BitBake's server, so that either opens what the other wrote.

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod answers;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod bulk;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod closing;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod columns;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod deadline;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod gather;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod halves;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod mark;
mod name;
mod options;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod queue;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use hashserv_storage::{Storage, StorageError};

pub use name::{DatabaseName, InvalidDatabaseName};
pub use options::{Credentials, Options, Password, Synchronous};
#[cfg(feature = "postgres")]
pub use postgres::PostgresStorage;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStorage;

/// Opens a database; one that does not exist is created, an old one upgraded, unless [`Options::read_only`] forbids it.
///
/// # Errors
///
/// [`StorageError::WrongSetting`] for a name that is wrong in itself; [`StorageError::Open`] where opening fails, or
/// this build lacks the backend.
///
/// # Cancellation
///
/// May be dropped at any time: what was created or upgraded by then is complete in itself.
pub async fn open(name: &DatabaseName, options: &Options) -> Result<Arc<dyn Storage>, StorageError> {
    match name.place() {
        #[cfg(feature = "sqlite")]
        name::Place::Sqlite(path) => Ok(Arc::new(SqliteStorage::open(path, options).await?)),
        #[cfg(feature = "postgres")]
        name::Place::Postgres(url) => Ok(Arc::new(PostgresStorage::open(url, options).await?)),
        #[cfg(not(all(feature = "sqlite", feature = "postgres")))]
        _ => {
            let source = "this build has no support for such databases".into();
            Err(StorageError::Open { what: name.to_string(), source })
        }
    }
}
