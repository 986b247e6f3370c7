//! Finding and removing rows that may be millions.

use std::sync::Arc;

use hashserv_storage::{Column, Conditions, StorageError, Sweep, Timestamp};
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::reads::Reads;
use super::record::naive_time;
use super::removals::Origin;
use super::texts::is_storable;
use super::transaction::{notify_removal, program};
use super::writer::{Program, Writer};
use crate::bulk::{self, CHUNK, Chunks, Removal, chunk_size};
use crate::columns::{columns_and_values, has_index};
use crate::queue::Queue;

/// Finds rows by their ids, ascending, so that no part of a table is read twice: $1 is the id after which to
/// look, $2 an array of values.
macro_rules! find_ids {
    ($table:expr, $condition:expr) => {
        concat!(
            "SELECT array_agg(f.id ORDER BY f.id) FROM (SELECT x.id::bigint AS id FROM ",
            $table,
            " AS x WHERE x.id > $1 AND cardinality($2::text[]) >= 0 AND ",
            $condition,
            " ORDER BY x.id LIMIT ",
            chunk_size!(),
            ") AS f"
        )
    };
}

/// What a removal works on.
macro_rules! declare_input {
    () => {
        "DECLARE
            input json := current_setting('hashserv.input')::json;
            ids bigint[] := ARRAY(SELECT json_array_elements_text(input -> 'ids')::bigint);
            vals text[] := ARRAY(SELECT json_array_elements_text(input -> 'values'));
            removed bigint := 0;
            is_current boolean;
        "
    };
}
pub(crate) use declare_input;

macro_rules! has_no_unihash {
    () => {
        "NOT EXISTS (SELECT 1 FROM unihashes_v3 AS u WHERE u.method = x.method AND u.taskhash = x.taskhash)"
    };
}

const FIND_UNUSED: &str = find_ids!("outhashes_v2", has_no_unihash!());

const FIND_OLD_UNUSED: &str =
    find_ids!("outhashes_v2", concat!("x.created < ($2::text[])[1]::timestamp AND ", has_no_unihash!()));

const DELETE_UNUSED: &str = program!(
    declare_input!(),
    "BEGIN
        DELETE FROM outhashes_v2 AS x WHERE x.id = ANY (ids) AND ",
    has_no_unihash!(),
    ";
        GET DIAGNOSTICS removed = ROW_COUNT;
        PERFORM set_config('hashserv.output', json_build_array(removed)::text, true);
    END"
);

const FIND_UNMARKED: &str = find_ids!("unihashes_v3", "x.gc_mark <> ($2::text[])[1]");

/// Gives how many rows were removed, and whether the mark is the current one. The last chunk ends the
/// collection.
const SWEEP_CHUNK: &str = program!(
    declare_input!(),
    "BEGIN
        is_current := EXISTS (SELECT 1 FROM config AS c WHERE c.name = 'gc-mark' AND c.value = vals[1]);
        IF is_current THEN
            DELETE FROM unihashes_v3 AS x WHERE x.id = ANY (ids) AND x.gc_mark <> vals[1];
            GET DIAGNOSTICS removed = ROW_COUNT;
            IF removed > 0 THEN ",
    notify_removal!(),
    " END IF;
            IF cardinality(ids) < ",
    chunk_size!(),
    " THEN
                UPDATE config SET value = NULL WHERE name = 'gc-mark';
            END IF;
        END IF;
        PERFORM set_config('hashserv.output', json_build_array(removed, is_current::int)::text, true);
    END"
);

/// What bulk work needs.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) reads: Arc<Reads>,
    pub(crate) writer: Queue<Writer>,
    pub(crate) origin: Arc<Origin>,
}

/// Rows that a transaction is to remove or to mark.
#[derive(Serialize)]
pub(crate) struct Chunk<'a> {
    pub(crate) ids: &'a [i64],
    pub(crate) values: &'a [String],
    pub(crate) origin: &'a str,
}

impl Bulk {
    pub(crate) async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let removals = [
            removal_of_rows("unihashes_v3", notify_if_removed(), conditions.of_unihashes()),
            removal_of_rows("outhashes_v2", "", conditions.of_outhashes()),
        ];
        bulk::remove(self, removals.into_iter().flatten()).await
    }

    pub(crate) async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        let find = if before.is_some() { FIND_OLD_UNUSED } else { FIND_UNUSED };
        let removal = Removal {
            find: find.into_sql_str(),
            delete: DELETE_UNUSED.into_sql_str(),
            values: before.iter().map(|time| naive_time(*time).to_string()).collect(),
        };
        bulk::remove(self, [removal]).await
    }

    pub(crate) async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        if mark.is_empty() || !is_storable(mark) {
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
        self.reads.ids(&removal.find, after, &removal.values).await
    }

    async fn remove(&self, removal: &Removal, ids: &[i64]) -> Result<Vec<i64>, StorageError> {
        let chunk = Chunk { ids, values: &removal.values, origin: &self.origin.name() };
        let input = serde_json::to_string(&chunk).map_err(StorageError::backend)?;
        let removed = self.writer.run(Program { sql: removal.delete.clone(), input }).await;
        if removed.is_err() {
            // The caller takes it as ended, but it may be committed yet.
            self.origin.change();
        }
        removed
    }
}

/// The rows that match all conditions; `None` without a condition, or where nothing can match.
fn removal_of_rows<'a>(
    table: &str,
    afterwards: &str,
    conditions: impl Iterator<Item = (Column, &'a str)>,
) -> Option<Removal> {
    let (columns, values) = columns_and_values(conditions);
    if columns.is_empty() || !values.iter().all(|value| is_storable(value)) {
        return None;
    }
    let values = columns.iter().zip(values).map(|(column, value)| comparable(*column, value));
    let values: Vec<String> = values.collect::<Option<_>>()?;
    let find = find_by(table, &matching(&columns, "$2::text[]"), has_index(&columns));
    let delete = format!(
        program!(
            declare_input!(),
            "BEGIN
                DELETE FROM {table} AS x WHERE x.id = ANY (ids) AND {matches};
                GET DIAGNOSTICS removed = ROW_COUNT;
                {afterwards}
                PERFORM set_config('hashserv.output', json_build_array(removed)::text, true);
            END"
        ),
        table = table,
        matches = matching(&columns, "vals"),
        afterwards = afterwards,
    );
    Some(Removal {
        find: AssertSqlSafe(find).into_sql_str(),
        delete: AssertSqlSafe(delete).into_sql_str(),
        values,
    })
}

/// The condition that columns have the values of an array. The names come from the fixed set of columns.
pub(crate) fn matching(columns: &[Column], values: &str) -> String {
    let of_columns = columns.iter().enumerate();
    let terms: Vec<String> = of_columns
        .map(|(index, column)| format!("{} = ({values})[{}]", text_of(*column), index + 1))
        .collect();
    terms.join(" AND ")
}

/// The text of a column as conditions compare it.
fn text_of(column: Column) -> String {
    match column {
        Column::Id => "x.id::text".to_owned(),
        Column::Created => "to_char(x.created::timestamp, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')".to_owned(),
        column => format!("x.\"{}\"", column.name()),
    }
}

/// The value in the form of [`text_of`]; `None` where it can match nothing.
fn comparable(column: Column, value: &str) -> Option<String> {
    match column {
        Column::Created => {
            let time = naive_time(Timestamp::parse(value)?);
            Some(time.format("%Y-%m-%dT%H:%M:%S%.6f").to_string())
        }
        _ => Some(value.to_owned()),
    }
}

fn notify_if_removed() -> &'static str {
    concat!("IF removed > 0 THEN ", notify_removal!(), " END IF;")
}

/// Finds rows by the index for the condition, or in the order of the ids.
///
/// `OFFSET 0` keeps the planner from walking the ids where an index leads to the few that match.
fn find_by(table: &str, matches: &str, has_index: bool) -> String {
    let fence = if has_index { "OFFSET 0" } else { "" };
    format!(
        "SELECT array_agg(f.id ORDER BY f.id) FROM (SELECT y.id FROM \
         (SELECT x.id::bigint AS id, x.id AS number FROM {table} AS x WHERE {matches} {fence}) AS y \
         WHERE y.number > $1 ORDER BY y.number LIMIT {CHUNK}) AS f"
    )
}
