//! Finding and removing rows that may be millions.

use hashserv_storage::{Column, Conditions, StorageError, Sweep, Timestamp};
use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::error::storage_error;
use super::json;
use super::transaction::transaction;
use super::writer::{Statements, Writer};
use crate::bulk::{self, CHUNK, Chunks, Removal, chunk_size};
use crate::columns::{columns_and_values, has_index};
use crate::queue::Queue;

/// Finds rows by their ids, ascending, so that no part of a table is read twice; `NOT INDEXED` keeps SQLite
/// from an index that would have to be sorted again for each chunk.
macro_rules! find_ids {
    ($from:expr, $condition:expr) => {
        concat!(
            "SELECT json_group_array(id) FROM (SELECT id FROM ",
            $from,
            " NOT INDEXED WHERE id > ?1 AND ",
            $condition,
            " ORDER BY id LIMIT ",
            chunk_size!(),
            ")"
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

/// Gives how many rows were removed, and whether the mark is the current one. The last chunk ends the
/// collection.
const SWEEP_CHUNK: &str = transaction!(
    "DELETE FROM unihashes_v3 WHERE id IN (SELECT value FROM json_each(?1)) AND gc_mark <> ?2 AND ",
    is_current!(),
    "; SELECT json_array(changes(), ",
    is_current!(),
    "); UPDATE config SET value = NULL WHERE name = 'gc-mark' AND value = ?2 AND json_array_length(?1) < ",
    chunk_size!()
);

/// What bulk work needs.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) scans: SqlitePool,
    pub(crate) writer: Queue<Writer>,
}

impl Bulk {
    pub(crate) async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let removals = [
            removal_of_rows("unihashes_v3", conditions.of_unihashes()),
            removal_of_rows("outhashes_v2", conditions.of_outhashes()),
        ];
        bulk::remove(self, removals.into_iter().flatten()).await
    }

    pub(crate) async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        let find = if before.is_some() { FIND_OLD_UNUSED } else { FIND_UNUSED };
        let removal = Removal {
            find: find.into_sql_str(),
            delete: DELETE_UNUSED.into_sql_str(),
            values: before.iter().map(|time| time.to_string().replace("+00:00", "")).collect(),
        };
        bulk::remove(self, [removal]).await
    }

    pub(crate) async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        if mark.is_empty() {
            return Ok(Sweep::NotCurrentMark);
        }
        let removal = Removal {
            find: FIND_UNMARKED.into_sql_str(),
            delete: SWEEP_CHUNK.into_sql_str(),
            values: vec![mark.to_owned()],
        };
        bulk::sweep(self, removal).await
    }
}

impl Chunks for Bulk {
    async fn find(&self, removal: &Removal, after: i64) -> Result<Vec<i64>, StorageError> {
        let query = sqlx::query_scalar(removal.find.clone()).bind(after);
        let query = removal.values.iter().fold(query, |query, value| query.bind(value.clone()));
        let ids: String = query.fetch_one(&self.scans).await.map_err(storage_error)?;
        json::parse_numbers(&ids).map_err(StorageError::backend)
    }

    async fn remove(&self, removal: &Removal, ids: &[i64]) -> Result<Vec<i64>, StorageError> {
        let mut arguments = vec![json::numbers(ids)];
        arguments.extend_from_slice(&removal.values);
        self.writer.run(Statements { sql: removal.delete.clone(), arguments }).await
    }
}

/// The rows that match all conditions; `None` without a condition. The statements have the values from ?2 on;
/// ?1 is the id after which to look, and the ids to remove.
fn removal_of_rows<'a>(table: &str, conditions: impl Iterator<Item = (Column, &'a str)>) -> Option<Removal> {
    let (columns, values) = columns_and_values(conditions);
    if columns.is_empty() {
        return None;
    }
    // The names come from the fixed set of columns.
    let matches =
        columns.iter().enumerate().map(|(index, column)| format!("{} = ?{}", column.name(), index + 2));
    let matches = matches.collect::<Vec<_>>().join(" AND ");
    let index = if has_index(&columns) { "" } else { "NOT INDEXED" };
    let find = format!(
        "SELECT json_group_array(id) FROM \
         (SELECT id FROM {table} {index} WHERE id > ?1 AND {matches} ORDER BY id LIMIT {CHUNK})"
    );
    let delete = format!(
        "BEGIN IMMEDIATE; DELETE FROM {table} WHERE id IN (SELECT value FROM json_each(?1)) AND {matches}; \
         SELECT json_array(changes()); COMMIT"
    );
    Some(Removal {
        find: AssertSqlSafe(find).into_sql_str(),
        delete: AssertSqlSafe(delete).into_sql_str(),
        values: values.into_iter().map(str::to_owned).collect(),
    })
}
