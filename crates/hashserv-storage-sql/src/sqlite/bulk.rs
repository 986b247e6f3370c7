//! Removing rows that may be millions.
//!
//! They are found through a connection that reads, and removed in chunks, each a transaction that looks at
//! the conditions again. So reports get in between, and no search of a whole table holds the lock for writing.

use std::sync::Arc;

use hashserv_storage::{Column, Conditions, StorageError, Sweep, Timestamp};
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqlitePool;

use super::error::storage_error;
use super::json;
use super::transaction::transaction;
use super::writer::{Statements, Writer};
use crate::indexes::has_index;
use crate::queue::Queue;

/// How many rows a transaction removes at most.
pub(crate) const CHUNK: usize = 2000;

/// Finds rows by their ids, ascending, so that no part of a table is read twice; `NOT INDEXED` keeps SQLite
/// from an index that would have to be sorted again for each chunk.
macro_rules! find_ids {
    ($from:expr, $condition:expr) => {
        concat!(
            "SELECT json_group_array(id) FROM (SELECT id FROM ",
            $from,
            " NOT INDEXED WHERE id > ?1 AND ",
            $condition,
            " ORDER BY id LIMIT 2000)"
        )
    };
}

macro_rules! has_no_unihash {
    () => {
        "NOT EXISTS (SELECT 1 FROM unihashes_v3 AS u \
         WHERE u.method = outhashes_v2.method AND u.taskhash = outhashes_v2.taskhash)"
    };
}

const FIND_UNUSED: &str = find_ids!("outhashes_v2", has_no_unihash!());

/// Old servers wrote a blank for the `T`, and no offset.
const FIND_OLD_UNUSED: &str = find_ids!(
    "outhashes_v2",
    concat!("replace(replace(created, ' ', 'T'), '+00:00', '') < ?2 AND ", has_no_unihash!())
);

const DELETE_UNUSED: &str = transaction!(
    "DELETE FROM outhashes_v2 WHERE id IN (SELECT value FROM json_each(?1)) AND ",
    has_no_unihash!(),
    "; SELECT json_array(changes())"
);

const FIND_UNMARKED: &str = find_ids!("unihashes_v3", "gc_mark <> ?2");

macro_rules! is_current {
    () => {
        "EXISTS (SELECT 1 FROM config WHERE name = 'gc-mark' AND value = ?2)"
    };
}

macro_rules! delete_unmarked {
    () => {
        concat!(
            "DELETE FROM unihashes_v3 WHERE id IN (SELECT value FROM json_each(?1)) AND gc_mark <> ?2 AND ",
            is_current!(),
            "; SELECT json_array(changes(), ",
            is_current!(),
            ")"
        )
    };
}

const SWEEP_CHUNK: &str = transaction!(delete_unmarked!());

const SWEEP_LAST: &str = transaction!(
    delete_unmarked!(),
    "; UPDATE config SET value = NULL WHERE name = 'gc-mark' AND value = ?2"
);

/// What bulk work needs; it goes on when its caller has gone, until the storage is closed.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) scans: SqlitePool,
    pub(crate) writer: Queue<Writer>,
}

impl Bulk {
    pub(crate) async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let removals = [
            Removal::of_rows("unihashes_v3", conditions.of_unihashes()),
            Removal::of_rows("outhashes_v2", conditions.of_outhashes()),
        ];
        self.detached(async move |bulk| {
            let mut count = 0;
            for removal in removals.into_iter().flatten() {
                count += bulk.remove_rows(removal).await?;
            }
            Ok(count)
        })
        .await
    }

    pub(crate) async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        let removal = Removal {
            find: if before.is_some() { FIND_OLD_UNUSED } else { FIND_UNUSED }.into(),
            delete: DELETE_UNUSED.into(),
            values: before.iter().map(|time| time.to_string().replace("+00:00", "")).collect(),
        };
        self.detached(async move |bulk| bulk.remove_rows(removal).await).await
    }

    pub(crate) async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        if mark.is_empty() {
            return Ok(Sweep::NotCurrentMark);
        }
        let mark = mark.to_owned();
        self.detached(async move |bulk| bulk.sweep_chunks(mark).await).await
    }

    /// Runs `work` as a task of its own, which a caller that goes away does not stop.
    async fn detached<T, F, W>(&self, work: W) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StorageError>> + Send + 'static,
        W: FnOnce(Bulk) -> F,
    {
        tokio::spawn(work(self.clone())).await.map_err(|_| StorageError::Closed)?
    }

    async fn remove_rows(&self, removal: Removal) -> Result<u64, StorageError> {
        let mut removed = 0;
        let mut after = 0;
        loop {
            let found = self.find(&removal.find, after, &removal.values).await?;
            let Some(last) = found.last else { return Ok(removed) };
            let numbers = self.chunk(&removal.delete, found.ids, &removal.values).await?;
            removed += numbers.first().map_or(0, |count| count.unsigned_abs());
            if found.count < CHUNK {
                return Ok(removed);
            }
            after = last;
        }
    }

    async fn sweep_chunks(&self, mark: String) -> Result<Sweep, StorageError> {
        let (find, chunk, last_chunk) = (FIND_UNMARKED.into(), SWEEP_CHUNK.into(), SWEEP_LAST.into());
        let values = [mark];
        let mut removed = 0;
        let mut after = 0;
        loop {
            let found = self.find(&find, after, &values).await?;
            let is_last = found.count < CHUNK;
            let sql = if is_last { &last_chunk } else { &chunk };
            let numbers = self.chunk(sql, found.ids, &values).await?;
            let [count, is_current] = numbers[..] else {
                return Err(StorageError::backend(sqlx::Error::RowNotFound));
            };
            if is_current == 0 {
                return Ok(Sweep::NotCurrentMark);
            }
            removed += count.unsigned_abs();
            if is_last {
                return Ok(Sweep::Done(removed));
            }
            after = found.last.unwrap_or(after);
        }
    }

    async fn find(&self, sql: &Arc<str>, after: i64, values: &[String]) -> Result<Found, StorageError> {
        let query = sqlx::query_scalar(AssertSqlSafe(Arc::clone(sql))).bind(after);
        let query = values.iter().fold(query, |query, value| query.bind(value.clone()));
        let ids: String = query.fetch_one(&self.scans).await.map_err(storage_error)?;
        let numbers = json::parse_numbers(&ids).map_err(StorageError::backend)?;
        Ok(Found { last: numbers.last().copied(), count: numbers.len(), ids })
    }

    async fn chunk(&self, sql: &Arc<str>, ids: String, values: &[String]) -> Result<Vec<i64>, StorageError> {
        let mut arguments = vec![ids];
        arguments.extend_from_slice(values);
        self.writer.run(Statements { sql: Arc::clone(sql), arguments }).await
    }
}

/// Some of the rows to remove.
struct Found {
    /// A JSON array.
    ids: String,
    count: usize,
    last: Option<i64>,
}

/// Rows of one table to remove. The statements have the values from ?2 on; ?1 is the id after which to
/// look, and the ids to remove.
struct Removal {
    find: Arc<str>,
    delete: Arc<str>,
    values: Vec<String>,
}

impl Removal {
    /// The rows that match all conditions; `None` without a condition.
    fn of_rows<'a>(table: &str, conditions: impl Iterator<Item = (Column, &'a str)>) -> Option<Self> {
        let mut conditions: Vec<(Column, &str)> = conditions.collect();
        conditions.sort_unstable();
        let (columns, values): (Vec<Column>, Vec<&str>) = conditions.into_iter().unzip();
        if columns.is_empty() {
            return None;
        }
        // The names come from the fixed set of columns.
        let matches =
            columns.iter().enumerate().map(|(index, column)| format!("{} = ?{}", column.name(), index + 2));
        let matches = matches.collect::<Vec<_>>().join(" AND ");
        let index = if has_index(&columns) { "" } else { "NOT INDEXED" };
        Some(Removal {
            find: format!(
                "SELECT json_group_array(id) FROM \
                 (SELECT id FROM {table} {index} WHERE id > ?1 AND {matches} ORDER BY id LIMIT {CHUNK})"
            )
            .into(),
            delete: format!(
                "BEGIN IMMEDIATE; DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?1)) AND {matches}; \
                 SELECT json_array(changes()); COMMIT"
            )
            .into(),
            values: values.into_iter().map(str::to_owned).collect(),
        })
    }
}
