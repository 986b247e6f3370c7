//! Making databases and looking into them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashserv_storage::{Details, Report, Storage, StorageError, TaskKey, Timestamp, Unihash};
use hashserv_storage_sql::{DatabaseName, Options};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tempfile::TempDir;

pub(super) const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// A directory for a database.
pub(super) struct Place(TempDir);

impl Place {
    pub(super) fn new() -> Self {
        Place(TempDir::new().expect("a directory can be made"))
    }

    /// With a copy of a database that belongs to these tests.
    pub(super) fn with_copy_of(name: &str) -> Self {
        let place = Place::new();
        let original = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        std::fs::copy(original, place.path()).expect("the database can be copied");
        place
    }

    pub(super) fn path(&self) -> PathBuf {
        self.beside("")
    }

    /// The file whose name is that of the database with the suffix.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        self.0.path().join(format!("hashserv.db{suffix}"))
    }

    pub(super) async fn open(&self) -> Arc<dyn Storage> {
        self.try_open(false).await.expect("the database opens")
    }

    pub(super) async fn open_read_only(&self) -> Arc<dyn Storage> {
        self.try_open(true).await.expect("the database opens")
    }

    pub(super) async fn try_open(&self, read_only: bool) -> Result<Arc<dyn Storage>, StorageError> {
        let options = Options { read_only, ..Options::default() };
        hashserv_storage_sql::open(&DatabaseName::sqlite(self.path()), &options).await
    }

    /// A connection past the storage, as another program would have it.
    pub(super) async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path()).create_if_missing(true);
        options.connect().await.expect("the database opens")
    }

    /// The rows of a query, each with its columns as text in one line.
    pub(super) async fn query(&self, sql: &str) -> Vec<String> {
        let mut connection = self.connect().await;
        let rows =
            sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection).await.expect("the query is right");
        rows.iter().map(row_text).collect()
    }
}

fn row_text(row: &SqliteRow) -> String {
    let columns = (0..row.len()).map(|index| {
        row.try_get_unchecked::<Option<String>, _>(index).expect("text").unwrap_or_else(|| "NULL".to_owned())
    });
    columns.collect::<Vec<_>>().join("|")
}

pub(super) fn task(taskhash: &str) -> TaskKey<'_> {
    TaskKey { method: METHOD, taskhash }
}

pub(super) fn report(taskhash: &str, outhash: &str, byte: u8) -> Report {
    Report {
        method: METHOD.to_owned(),
        taskhash: taskhash.to_owned(),
        outhash: outhash.to_owned(),
        unihash: Unihash::from([byte; 32]),
        created: Timestamp::now(),
        details: Details::default(),
    }
}

/// Waits for what must come; a test fails instead of hanging.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(std::time::Duration::from_secs(60), work).await.expect("it comes in time")
}
