//! Connections to the file, and what is particular about read-only ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hashserv_storage::StorageError;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::time::{Instant, sleep};

use super::error::{BUSY_SECONDS, is_busy, is_unwritable_place};
use super::schema;
use crate::options::Synchronous;

/// How often to try for a lock on which SQLite itself does not wait.
const RETRY_INTERVAL: Duration = Duration::from_millis(25);
/// For how long the connection that writes waits within SQLite, in milliseconds; then it looks for what others have
/// committed meanwhile, and tries again.
const WRITER_WAIT: &str = "PRAGMA busy_timeout = 50";
/// The page size of a new database in bytes; one that exists keeps its own (SQLite's default is 4096).
///
/// A report changes some ten pages, at random places of large tables: the smaller they are, the less is written to the
/// log, which has to reach the disk. Yet smaller ones hold so few keys that more of them change.
const PAGE_SIZE: u32 = 2048;
/// After how many pages in the write-ahead log the writer itself moves them into the database and begins the log
/// anew. It comes to that only when reports come faster than they can be moved beside it.
const MAX_LOG_PAGES: &str = "393216";
/// To what size, in bytes, the file of the log shrinks when it is begun anew; what is written again costs less than
/// what is appended.
const LOG_FILE_SIZE: &str = "671088640";

/// Why a file cannot be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("it has no table {0}; open it once for writing, which creates the tables or upgrades old ones")]
    MissingTable(&'static str),
    #[error("the file does not exist; open it once for writing, which creates it")]
    MissingFile,
    #[error(
        "the file or its directory cannot be written, or the directory is missing; make the directory, give the rights \
         to write both, or open the database read-only"
    )]
    NotWritable(#[source] sqlx::Error),
    #[error("another process keeps it locked, and did so for {BUSY_SECONDS} seconds")]
    Locked(#[source] sqlx::Error),
}

/// Makes the connections of one storage.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    path: PathBuf,
    /// The file is on a place where SQLite cannot keep its files for sharing: it is taken as never changing.
    immutable: bool,
}

impl Connector {
    /// Opens the file to write, with all tables there.
    pub(crate) async fn for_writing(
        path: &Path,
        synchronous: Synchronous,
    ) -> Result<(Self, SqliteConnection), StorageError> {
        let connector = Connector { path: path.to_owned(), immutable: false };
        let opened = connector.open_writer(synchronous).await;
        opened.map(|writer| (connector, writer)).map_err(|error| {
            let source: Box<dyn std::error::Error + Send + Sync> = if is_busy(&error) {
                OpenError::Locked(error).into()
            } else if is_unwritable_place(&error) {
                OpenError::NotWritable(error).into()
            } else {
                error.into()
            };
            open_error(path, source)
        })
    }

    /// Opens the file to read; all tables must be there.
    ///
    /// A database in WAL mode needs files beside it, even for reading. Where they cannot be made (a
    /// read-only file system) the database is read as a file that nobody changes.
    pub(crate) async fn for_reading(path: &Path) -> Result<(Self, SqliteConnection), StorageError> {
        if !path.exists() {
            return Err(open_error(path, OpenError::MissingFile));
        }
        let shared = Connector { path: path.to_owned(), immutable: false };
        match shared.open_and_check().await {
            Ok(reader) => Ok((shared, reader)),
            Err(CheckError::Sql(error)) if is_unwritable_place(&error) => {
                let immutable = Connector { immutable: true, ..shared };
                immutable.warn_of_unread_log();
                match immutable.open_and_check().await {
                    Ok(reader) => Ok((immutable, reader)),
                    Err(error) => Err(open_error(path, error.into_source())),
                }
            }
            Err(error) => Err(open_error(path, error.into_source())),
        }
    }

    /// A connection that moves the write-ahead log into the database.
    pub(crate) async fn for_checkpoints(&self) -> Result<SqliteConnection, StorageError> {
        let options = self.options().pragma("wal_autocheckpoint", "0");
        options.connect().await.map_err(|error| open_error(&self.path, error))
    }

    /// A connection that reads.
    pub(crate) async fn reader(&self) -> Result<SqliteConnection, StorageError> {
        self.reader_options().connect().await.map_err(|error| open_error(&self.path, error))
    }

    /// Up to `connections` that read, opened when they are needed; for a free one a call waits for `wait` at most.
    pub(crate) fn reader_pool(&self, connections: u32, wait: Duration) -> SqlitePool {
        SqlitePoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(wait)
            .acquire_slow_threshold(wait)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(self.reader_options())
    }

    async fn open_writer(&self, synchronous: Synchronous) -> Result<SqliteConnection, sqlx::Error> {
        let options = self.writer_options(synchronous);
        let deadline = Instant::now() + Duration::from_secs(BUSY_SECONDS);
        // The change to WAL mode needs all other processes out of the file, and fails at once otherwise.
        let mut writer = loop {
            match options.connect().await {
                Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(RETRY_INTERVAL).await,
                result => break result?,
            }
        };
        schema::create_or_upgrade(&mut writer).await?;
        writer.execute(WRITER_WAIT).await?;
        Ok(writer)
    }

    async fn open_and_check(&self) -> Result<SqliteConnection, CheckError> {
        let mut reader = self.reader_options().connect().await?;
        match schema::missing_table(&mut reader).await? {
            None => Ok(reader),
            Some(table) => {
                reader.close().await?;
                Err(CheckError::MissingTable(table))
            }
        }
    }

    fn writer_options(&self, synchronous: Synchronous) -> SqliteConnectOptions {
        let synchronous = match synchronous {
            Synchronous::Normal => SqliteSynchronous::Normal,
            Synchronous::Full => SqliteSynchronous::Full,
        };
        self.options()
            .create_if_missing(true)
            .page_size(PAGE_SIZE)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .pragma("temp_store", "MEMORY")
            .pragma("wal_autocheckpoint", MAX_LOG_PAGES)
            .pragma("journal_size_limit", LOG_FILE_SIZE)
    }

    fn reader_options(&self) -> SqliteConnectOptions {
        self.options().read_only(true).immutable(self.immutable)
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(plain_path(&self.path))
            .busy_timeout(Duration::from_secs(BUSY_SECONDS))
            .disable_statement_logging()
    }

    fn warn_of_unread_log(&self) {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        if std::fs::metadata(&log).is_ok_and(|metadata| metadata.len() > 0) {
            tracing::warn!(
                database = %self.path.display(),
                "the write-ahead log beside the database cannot be used on this read-only place; what it holds is not seen",
            );
        }
    }
}

enum CheckError {
    Sql(sqlx::Error),
    MissingTable(&'static str),
}

impl CheckError {
    fn into_source(self) -> Box<dyn std::error::Error + Send + Sync> {
        match self {
            CheckError::Sql(error) => error.into(),
            CheckError::MissingTable(table) => OpenError::MissingTable(table).into(),
        }
    }
}

impl From<sqlx::Error> for CheckError {
    fn from(error: sqlx::Error) -> Self {
        CheckError::Sql(error)
    }
}

fn open_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StorageError {
    StorageError::Open { what: path.display().to_string(), source: source.into() }
}

/// SQLite takes a name that begins with `file:` as a URI.
fn plain_path(path: &Path) -> PathBuf {
    if path.to_string_lossy().starts_with("file:") { Path::new(".").join(path) } else { path.to_owned() }
}
