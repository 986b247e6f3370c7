//! Reads of single rows, of accounts, and of totals.

use std::time::Duration;

use hashserv_storage::{
    GcStatus, OuthashKey, OuthashRow, StorageError, StoredUnihash, TableUsage, TaskKey, Timestamp,
    UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{FromRow, Row as _};
use tokio::time::Instant;

use super::connect::Connector;
use super::error::storage_error;
use super::schema::TABLES;
use super::texts::lenient;
use crate::deadline::{LOOKUP_DEADLINE, LOOKUP_START_DEADLINE, within};
use crate::rows::{Outhash, TableRow, Unified, User};

/// How many connections read rows.
const ROW_CONNECTIONS: u32 = 2;
/// How long to wait for the connection that scans whole tables: on a large database a single scan takes minutes.
const SCAN_WAIT: Duration = Duration::from_secs(300);

/// The columns of a report, for those that have the outhashes as `o`.
macro_rules! outhash_columns {
    () => {
        "o.id, o.method, o.taskhash, o.outhash, o.created, o.owner, o.PN, o.PV, o.PR, o.task, o.outhash_siginfo"
    };
}

const TASK_ROW: &str = concat!(
    "SELECT ",
    outhash_columns!(),
    ", u.unihash, u.gc_mark FROM outhashes_v2 AS o \
     JOIN unihashes_v3 AS u ON u.method = o.method AND u.taskhash = o.taskhash \
     WHERE o.method = ?1 AND o.taskhash = ?2 ORDER BY o.created, o.id LIMIT 1"
);

pub(super) const UNIFIED_OUTHASH_ROW: &str = concat!(
    "SELECT ",
    outhash_columns!(),
    ", u.unihash, u.gc_mark FROM outhashes_v2 AS o \
     CROSS JOIN unihashes_v3 AS u ON u.method = o.method AND u.taskhash = o.taskhash \
     WHERE o.method = ?1 AND o.outhash = ?2 ORDER BY o.created, o.id LIMIT 1"
);

pub(super) const OUTHASH_ROW: &str = concat!(
    "SELECT ",
    outhash_columns!(),
    " FROM outhashes_v2 AS o WHERE o.method = ?1 AND o.outhash = ?2 ORDER BY o.created, o.id LIMIT 1"
);

/// One row with one text, since every row of its own is handed from SQLite's thread to ours.
const NEWEST_UNIHASHES: &str = "\
    SELECT json_group_array(json_array(id, CAST(method AS TEXT), CAST(taskhash AS TEXT), CAST(unihash AS TEXT))) \
    FROM (SELECT id, method, taskhash, unihash FROM unihashes_v3 WHERE id < ?1 ORDER BY id DESC LIMIT ?2)";

const GC_STATUS: &str = "\
    WITH current AS (SELECT (SELECT value FROM config WHERE name = 'gc-mark') AS mark) \
    SELECT (SELECT mark FROM current) AS mark, \
           count(*) FILTER (WHERE gc_mark = (SELECT coalesce(mark, '') FROM current)) AS keep, \
           count(*) FILTER (WHERE gc_mark <> (SELECT coalesce(mark, '') FROM current)) AS remove \
    FROM unihashes_v3";

const USAGE: &str = "\
    SELECT (SELECT count(*) FROM unihashes_v3), (SELECT count(*) FROM outhashes_v2), \
           (SELECT count(*) FROM users), (SELECT count(*) FROM config)";

const USER: &str = "SELECT id, username, token, permissions FROM users WHERE username = ?1";

const USERS: &str = "SELECT id, username, token, permissions FROM users ORDER BY username";

/// The connections for such reads.
///
/// What scans whole tables has a connection for itself, so that nothing else waits for it. So have accounts: a login
/// does not wait for those who read rows with megabytes of text.
#[derive(Debug)]
pub(crate) struct Reads {
    rows: SqlitePool,
    accounts: SqlitePool,
    scans: SqlitePool,
}

impl Reads {
    pub(crate) fn new(connector: &Connector) -> Self {
        Reads {
            rows: connector.reader_pool(ROW_CONNECTIONS, LOOKUP_START_DEADLINE),
            accounts: connector.reader_pool(1, LOOKUP_START_DEADLINE),
            scans: connector.reader_pool(1, SCAN_WAIT),
        }
    }

    /// The connection that scans.
    pub(crate) fn scans(&self) -> &SqlitePool {
        &self.scans
    }

    pub(crate) async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        let query = sqlx::query_scalar(NEWEST_UNIHASHES)
            .bind(before.unwrap_or(i64::MAX))
            .bind(i64::try_from(limit).unwrap_or(i64::MAX));
        let text: Vec<u8> = in_time(query.fetch_one(&self.rows)).await?;
        let rows: Vec<(i64, String, String, String)> =
            serde_json::from_str(&lenient(text)).map_err(StorageError::backend)?;
        let stored = |(id, method, taskhash, unihash): (i64, String, String, String)| {
            let unihash = Unihash::from_stored(&unihash);
            StoredUnihash { id, entry: UnihashEntry { method, taskhash, unihash } }
        };
        // A key that is no text can be asked by nobody, and must not be taken for another one.
        let is_text = |text: &str| !text.contains(char::REPLACEMENT_CHARACTER);
        let rows = rows.into_iter().filter(|(_, method, taskhash, _)| is_text(method) && is_text(taskhash));
        Ok(rows.map(stored).collect())
    }

    pub(crate) async fn close(&self) {
        self.rows.close().await;
        self.accounts.close().await;
        self.scans.close().await;
    }

    pub(crate) async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        let row: Option<Unified> = row(&self.rows, TASK_ROW, &[key.method, key.taskhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn unified_outhash_row(
        &self,
        key: OuthashKey<'_>,
    ) -> Result<Option<UnifiedRow>, StorageError> {
        let row: Option<Unified> = row(&self.rows, UNIFIED_OUTHASH_ROW, &[key.method, key.outhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        let row: Option<Outhash> = row(&self.rows, OUTHASH_ROW, &[key.method, key.outhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        let row: Option<User> = row(&self.accounts, USER, &[name]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        let rows: Vec<User> = in_time(sqlx::query_as(USERS).fetch_all(&self.accounts)).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    pub(crate) async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        let (mark, keep, remove): (Option<Vec<u8>>, i64, i64) =
            sqlx::query_as(GC_STATUS).fetch_one(&self.scans).await.map_err(storage_error)?;
        Ok(GcStatus { mark: mark.map(lenient), keep: keep.unsigned_abs(), remove: remove.unsigned_abs() })
    }

    pub(crate) async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        let row = sqlx::query(USAGE).fetch_one(&self.scans).await.map_err(storage_error)?;
        let usage = TABLES.into_iter().enumerate().map(|(index, table)| {
            let rows: i64 = row.try_get(index)?;
            Ok(TableUsage { table, rows: rows.unsigned_abs() })
        });
        usage.collect::<Result<_, _>>().map_err(storage_error)
    }
}

async fn row<T>(rows: &SqlitePool, sql: &'static str, keys: &[&str]) -> Result<Option<T>, StorageError>
where
    T: for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
{
    let query = keys.iter().fold(sqlx::query_as(sql), |query, key| query.bind((*key).to_owned()));
    in_time(query.fetch_optional(rows)).await
}

/// Waits for a read of few rows.
async fn in_time<T>(read: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StorageError> {
    within(Instant::now(), LOOKUP_DEADLINE, async { read.await.map_err(storage_error) }).await
}

impl TableRow for SqliteRow {
    fn number(&self, column: &str) -> Result<i64, sqlx::Error> {
        self.try_get(column)
    }

    fn text(&self, column: &str) -> Result<String, sqlx::Error> {
        // Unchecked, as a column of text may hold a value of any type.
        self.try_get_unchecked(column).map(lenient)
    }

    fn optional_text(&self, column: &str) -> Result<Option<String>, sqlx::Error> {
        let bytes: Option<Vec<u8>> = self.try_get_unchecked(column)?;
        Ok(bytes.map(lenient))
    }

    fn created(&self) -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(self.optional_text("created")?.as_deref().and_then(Timestamp::parse))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Synchronous;

    /// The driver would give up after 30 seconds.
    #[tokio::test]
    async fn a_scan_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hashserv.db");
        let (connector, _) = Connector::for_writing(&path, Synchronous::Normal).await.unwrap();
        let reads = Reads::new(&connector);
        assert_eq!(reads.scans().options().get_acquire_timeout(), SCAN_WAIT);
    }
}
