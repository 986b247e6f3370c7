//! The databases that the server runs on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

/// A kind of database. To test another one, add it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// A file in a temporary directory.
    Sqlite,
}

impl Backend {
    /// Every backend that can be tested on this machine.
    #[must_use]
    pub fn all() -> Vec<Backend> {
        vec![Backend::Sqlite]
    }

    /// A new, empty database, which goes when the last server on it is dropped.
    ///
    /// # Panics
    ///
    /// Where there is no room for one.
    #[must_use]
    pub fn create(self) -> Arc<Database> {
        match self {
            Backend::Sqlite => {
                let directory = TempDir::with_prefix("hashserv-db-").expect("a temporary directory");
                let path = directory.path().join("hashserv.db");
                Arc::new(Database { name: path.display().to_string(), _directory: Some(directory) })
            }
        }
    }
}

/// A database that servers share.
#[derive(Debug)]
pub struct Database {
    name: String,
    _directory: Option<TempDir>,
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
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file of an SQLite database.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.name)
    }
}
