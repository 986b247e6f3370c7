//! Reads of single rows, of accounts, and of totals.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{
    GcStatus, OuthashKey, OuthashRow, StorageError, StoredUnihash, TableUsage, TaskKey, UnifiedRow,
    UserRecord,
};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{Arguments as _, FromRow, SqlSafeStr as _, SqlStr};
use tokio::time::Instant;

use super::error::Failure;
use super::link::Links;
use super::patience::{Patience, ROW_DEADLINE, SCAN_DEADLINE};
use super::rows::Stored;
use super::schema::TABLES;
use super::server::{Server, Session};
use super::texts::is_storable;
use crate::answers::SharedFailure as _;
use crate::rows::{Outhash, Unified, User};

/// The columns of a report, for those that have the outhashes as `o`.
macro_rules! outhash_columns {
    () => {
        "o.id::bigint AS id, o.method, o.taskhash, o.outhash, o.created::timestamp AS created, o.owner, \
         o.\"PN\", o.\"PV\", o.\"PR\", o.task, o.outhash_siginfo"
    };
}

/// The oldest report that matches and has a unihash. The reports are sorted before they are joined, so that
/// the join ends with the first.
macro_rules! oldest_with_unihash {
    ($condition:expr) => {
        concat!(
            "SELECT ",
            outhash_columns!(),
            ", u.unihash, u.gc_mark FROM (SELECT s.id, s.created FROM outhashes_v2 AS s WHERE ",
            $condition,
            " ORDER BY s.created, s.id) AS f \
             JOIN outhashes_v2 AS o ON o.id = f.id \
             JOIN unihashes_v3 AS u ON u.method = o.method AND u.taskhash = o.taskhash \
             ORDER BY f.created, f.id LIMIT 1"
        )
    };
}

const TASK_ROW: &str = oldest_with_unihash!("s.method = $1 AND s.taskhash = $2");

const UNIFIED_OUTHASH_ROW: &str = oldest_with_unihash!("s.method = $1 AND s.outhash = $2");

const OUTHASH_ROW: &str = concat!(
    "SELECT ",
    outhash_columns!(),
    " FROM outhashes_v2 AS o WHERE o.method = $1 AND o.outhash = $2 ORDER BY o.created, o.id LIMIT 1"
);

const NEWEST_UNIHASHES: &str = "\
    SELECT id::bigint AS id, method, taskhash, unihash FROM unihashes_v3 AS u \
    WHERE u.id < $1 ORDER BY u.id DESC LIMIT $2";

const GC_STATUS: &str = "\
    WITH current AS (SELECT (SELECT value FROM config WHERE name = 'gc-mark') AS mark) \
    SELECT (SELECT mark FROM current), \
           count(*) FILTER (WHERE gc_mark = (SELECT coalesce(mark, '') FROM current)), \
           count(*) FILTER (WHERE gc_mark <> (SELECT coalesce(mark, '') FROM current)) \
    FROM unihashes_v3";

const USAGE: &str = "\
    SELECT ARRAY[(SELECT count(*) FROM unihashes_v3), (SELECT count(*) FROM outhashes_v2), \
                 (SELECT count(*) FROM users), (SELECT count(*) FROM config)]";

const USER: &str = "SELECT id::bigint AS id, username, token, permissions FROM users WHERE username = $1";

/// By the bytes of the name, whatever the collation of the database.
const USERS: &str = "\
    SELECT id::bigint AS id, username, token, permissions FROM users ORDER BY username COLLATE \"C\"";

/// The connections for such reads.
///
/// What scans whole tables has a connection for itself, so that nothing else waits for it.
#[derive(Debug)]
pub(crate) struct Reads {
    rows: Links,
    scans: Links,
}

impl Reads {
    pub(crate) fn new(server: &Arc<Server>, row_connections: usize) -> Self {
        Reads {
            rows: Links::new(server, Session::Keys, row_connections),
            scans: Links::new(server, Session::Scans, 1),
        }
    }

    /// The connections that find rows by their keys.
    pub(crate) fn rows(&self) -> &Links {
        &self.rows
    }

    pub(crate) async fn close(&self) {
        self.rows.close().await;
        self.scans.close().await;
    }

    pub(crate) async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        let bind = |arguments: &mut PgArguments| {
            arguments.add(before.unwrap_or(i64::MAX))?;
            arguments.add(i64::try_from(limit).unwrap_or(i64::MAX))
        };
        let rows: Vec<Stored> =
            read(&self.rows, NEWEST_UNIHASHES.into_sql_str(), &bind, ROW_DEADLINE).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    pub(crate) async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        let row: Option<Unified> = self.row(TASK_ROW, &[key.method, key.taskhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn unified_outhash_row(
        &self,
        key: OuthashKey<'_>,
    ) -> Result<Option<UnifiedRow>, StorageError> {
        let row: Option<Unified> = self.row(UNIFIED_OUTHASH_ROW, &[key.method, key.outhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        let row: Option<Outhash> = self.row(OUTHASH_ROW, &[key.method, key.outhash]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        let row: Option<User> = self.row(USER, &[name]).await?;
        Ok(row.map(|row| row.0))
    }

    pub(crate) async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        let rows: Vec<User> = read(&self.rows, USERS.into_sql_str(), &|_| Ok(()), ROW_DEADLINE).await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    pub(crate) async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        let rows: Vec<(Option<String>, i64, i64)> = self.scan(GC_STATUS).await?;
        let (mark, keep, remove) = rows.into_iter().next().unwrap_or_default();
        Ok(GcStatus { mark, keep: keep.unsigned_abs(), remove: remove.unsigned_abs() })
    }

    pub(crate) async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        let counts: Vec<(Vec<i64>,)> = self.scan(USAGE).await?;
        let counts = counts.into_iter().flat_map(|(counts,)| counts);
        let usage = TABLES.into_iter().zip(counts);
        Ok(usage.map(|(table, rows)| TableUsage { table, rows: rows.unsigned_abs() }).collect())
    }

    /// The ids that a statement finds after one, given as one array or NULL.
    pub(crate) async fn ids(
        &self,
        sql: &SqlStr,
        after: i64,
        values: &[String],
    ) -> Result<Vec<i64>, StorageError> {
        let bind = |arguments: &mut PgArguments| {
            arguments.add(after)?;
            arguments.add(values)
        };
        let found: Vec<(Option<Vec<i64>>,)> = read(&self.scans, sql.clone(), &bind, SCAN_DEADLINE).await?;
        Ok(found.into_iter().filter_map(|(ids,)| ids).flatten().collect())
    }

    /// The rows that a statement finds after an id: how many they are, the last of their ids, and those to change.
    pub(crate) async fn matches(
        &self,
        sql: &SqlStr,
        after: i64,
        values: &[String],
    ) -> Result<Option<Matches>, StorageError> {
        let bind = |arguments: &mut PgArguments| {
            arguments.add(after)?;
            arguments.add(values)
        };
        Ok(read(&self.scans, sql.clone(), &bind, SCAN_DEADLINE).await?.pop())
    }

    async fn row<T: RowType>(&self, sql: &'static str, keys: &[&str]) -> Result<Option<T>, StorageError> {
        if !keys.iter().all(|key| is_storable(key)) {
            return Ok(None);
        }
        let bind = |arguments: &mut PgArguments| keys.iter().try_for_each(|key| arguments.add(*key));
        Ok(read(&self.rows, sql.into_sql_str(), &bind, ROW_DEADLINE).await?.pop())
    }

    async fn scan<T: RowType>(&self, sql: &'static str) -> Result<Vec<T>, StorageError> {
        read(&self.scans, sql.into_sql_str(), &|_| Ok(()), SCAN_DEADLINE).await
    }
}

/// Rows that match a condition, as [`Reads::matches`] finds them.
pub(crate) type Matches = (i64, Option<i64>, Option<Vec<i64>>);

/// What a row can be made into.
trait RowType: for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T: for<'r> FromRow<'r, PgRow> + Send + Unpin> RowType for T {}

/// Binds the arguments of a statement.
type Bind<'a> = dyn Fn(&mut PgArguments) -> Result<(), sqlx::error::BoxDynError> + Sync + 'a;

async fn read<T: RowType>(
    links: &Links,
    sql: SqlStr,
    bind: &Bind<'_>,
    limit: Duration,
) -> Result<Vec<T>, StorageError> {
    let until = Instant::now() + limit;
    let mut patience = Patience::at_most_until(until);
    loop {
        match read_once(links, sql.clone(), bind, until).await {
            Ok(rows) => return Ok(rows),
            Err(failure) if patience.endures(&failure).await => {}
            Err(failure) => return Err(failure.storage_error()),
        }
    }
}

async fn read_once<T: RowType>(
    links: &Links,
    sql: SqlStr,
    bind: &Bind<'_>,
    until: Instant,
) -> Result<Vec<T>, Failure> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments).map_err(sqlx::Error::Encode)?;
    let mut lease = links.take(until).await?;
    let rows = lease.link().fetch_all(sql, arguments, until).await;
    lease.give_back();
    Ok(rows?.iter().map(T::from_row).collect::<Result<_, _>>()?)
}
