//! The databases that the server runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// A kind of database. To test another one, add it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in a temporary directory.
    Sqlite,
    /// A database on a private PostgreSQL cluster, which the tests of the process share.
    Postgres,
}

impl Backend {
    /// Every backend that is to be tested.
    #[must_use]
    pub fn all() -> Vec<Backend> {
        let mut backends = vec![Backend::Sqlite];
        if !hashserv_test_postgres::is_skipped() {
            backends.push(Backend::Postgres);
        }
        backends
    }

    /// A new, empty database, which goes when the last server on it is dropped.
    ///
    /// # Panics
    ///
    /// Where there is no room for one, or PostgreSQL is not installed (the message says what to do).
    #[must_use]
    pub fn create(self) -> Arc<Database> {
        Arc::new(match self {
            Backend::Sqlite => {
                Database::Sqlite(TempDir::with_prefix("hashserv-db-").expect("a temporary directory"))
            }
            Backend::Postgres => Database::Postgres(
                hashserv_test_postgres::database()
                    .expect("the backend is only listed where it is not skipped"),
            ),
        })
    }
}

/// A database that servers share.
#[derive(Debug)]
pub enum Database {
    /// The file `hashserv.db` in this directory.
    Sqlite(TempDir),
    /// A database on the private cluster.
    Postgres(hashserv_test_postgres::Database),
}

impl Database {
    /// An SQLite database with the content of a file, of which it is a copy.
    ///
    /// # Panics
    ///
    /// Where the file cannot be copied.
    #[must_use]
    pub fn copy_of(file: &Path) -> Arc<Database> {
        let database = Backend::Sqlite.create();
        std::fs::copy(file, database.path()).expect("a copy of the database");
        database
    }

    /// What `--database` is told.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Database::Sqlite(_) => self.path().display().to_string(),
            Database::Postgres(database) => database.url().to_owned(),
        }
    }

    /// The file of an SQLite database.
    ///
    /// # Panics
    ///
    /// Where the database is not one of SQLite.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        match self {
            Database::Sqlite(directory) => directory.path().join("hashserv.db"),
            Database::Postgres(database) => panic!("{} has no file", database.name()),
        }
    }
}
