//! From SQLite's errors to ours.

use std::sync::Arc;

use hashserv_storage::StorageError;

use crate::answers::SharedFailure;

/// How long a statement waits for another process before it fails; for those that write see the queue.
pub(crate) const BUSY_SECONDS: u64 = 20;

/// Primary result codes of SQLite (<https://sqlite.org/rescode.html>).
mod code {
    pub(super) const BUSY: i32 = 5;
    pub(super) const LOCKED: i32 = 6;
    pub(super) const READONLY: i32 = 8;
    pub(super) const CANTOPEN: i32 = 14;
}

/// What the failure of a statement means to the caller.
pub(crate) fn storage_error(error: sqlx::Error) -> StorageError {
    match primary_code(&error) {
        Some(code::BUSY | code::LOCKED) => StorageError::Timeout(busy_text()),
        Some(code::READONLY) => StorageError::ReadOnly,
        _ => match error {
            sqlx::Error::PoolClosed => StorageError::Closed,
            sqlx::Error::PoolTimedOut => StorageError::Timeout(
                "all connections that read such things were in use for too long".to_owned(),
            ),
            error => StorageError::backend(error),
        },
    }
}

/// One failure, told to each of several callers.
#[derive(Clone, Debug)]
pub(crate) struct SharedError(Arc<sqlx::Error>);

/// The source of a [`StorageError`] whose cause several callers share.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedSource(Arc<sqlx::Error>);

impl SharedError {
    /// Whether another process held a lock for too long.
    pub(crate) fn is_busy(&self) -> bool {
        is_busy(&self.0)
    }
}

impl SharedFailure for SharedError {
    fn storage_error(&self) -> StorageError {
        match primary_code(&self.0) {
            Some(code::BUSY | code::LOCKED) => StorageError::Timeout(busy_text()),
            Some(code::READONLY) => StorageError::ReadOnly,
            _ => StorageError::backend(SharedSource(Arc::clone(&self.0))),
        }
    }

    fn concerns_all(&self) -> bool {
        matches!(primary_code(&self.0), None | Some(code::BUSY | code::LOCKED | code::READONLY))
    }
}

impl From<sqlx::Error> for SharedError {
    fn from(error: sqlx::Error) -> Self {
        SharedError(Arc::new(error))
    }
}

/// Whether another process held a lock for too long.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

/// Whether SQLite could not make the files that it needs beside the database.
pub(crate) fn is_unwritable_place(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::CANTOPEN | code::READONLY))
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

fn busy_text() -> String {
    "another process held the lock of the database for too long".to_owned()
}
