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
    pub(super) const IOERR: i32 = 10;
    pub(super) const FULL: i32 = 13;
    pub(super) const CANTOPEN: i32 = 14;
    /// Extended codes of failed reads: they tell of one page, where those of failed writes tell of the disk.
    pub(super) const IOERR_READS: [i32; 2] = [IOERR | 1 << 8, IOERR | 2 << 8];
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
pub(crate) struct SharedError(Arc<Cause>);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Sql(sqlx::Error),
    #[error("lost")]
    Lost,
    #[error(
        "the disk of the database is nearly full: writes are refused so that the write-ahead log can still be moved \
         into the database; make room there"
    )]
    NoRoom,
}

/// The source of a [`StorageError`] whose cause several callers share.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct SharedSource(Arc<Cause>);

impl SharedError {
    /// A file of the database was deleted or replaced.
    pub(crate) fn lost() -> Self {
        SharedError(Arc::new(Cause::Lost))
    }

    /// The disk has no room for what is to be written.
    pub(crate) fn no_room() -> Self {
        SharedError(Arc::new(Cause::NoRoom))
    }

    /// Whether another process held a lock for too long.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code(), Some(code::BUSY | code::LOCKED))
    }

    /// Whether the disk is full, or failed to write.
    pub(crate) fn is_write_error(&self) -> bool {
        match self.code() {
            Some(code::FULL) => true,
            Some(code::IOERR) => !code::IOERR_READS.map(Some).contains(&self.extended_code()),
            _ => false,
        }
    }

    fn code(&self) -> Option<i32> {
        self.extended_code().map(|code| code & 0xff)
    }

    fn extended_code(&self) -> Option<i32> {
        match &*self.0 {
            Cause::Sql(error) => extended_code(error),
            Cause::Lost | Cause::NoRoom => None,
        }
    }
}

impl SharedFailure for SharedError {
    fn storage_error(&self) -> StorageError {
        match (&*self.0, self.code()) {
            (Cause::Lost, _) => StorageError::Lost,
            (_, Some(code::BUSY | code::LOCKED)) => StorageError::Timeout(busy_text()),
            (_, Some(code::READONLY)) => StorageError::ReadOnly,
            _ => StorageError::backend(SharedSource(Arc::clone(&self.0))),
        }
    }

    fn concerns_all(&self) -> bool {
        self.is_write_error()
            || matches!(self.code(), None | Some(code::BUSY | code::LOCKED | code::READONLY))
    }
}

impl From<sqlx::Error> for SharedError {
    fn from(error: sqlx::Error) -> Self {
        SharedError(Arc::new(Cause::Sql(error)))
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
    extended_code(error).map(|code| code & 0xff)
}

fn extended_code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn busy_text() -> String {
    "another process held the lock of the database for too long".to_owned()
}
