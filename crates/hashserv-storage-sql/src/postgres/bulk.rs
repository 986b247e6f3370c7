//! Removing rows that may be millions.
//!
//! They are found without the lock for writing, and removed in chunks, each a transaction that looks at the
//! conditions again. So reports get in between, and no search of a whole table holds the lock.

use hashserv_storage::{Column, Conditions, StorageError, Sweep, Timestamp};
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::reads::Reads;
use super::record::naive_time;
use super::texts::is_storable;
use super::transaction::{notify_removal, program};
use super::writer::{Program, Writer};
use crate::indexes::has_index;
use crate::queue::Queue;

/// How many rows a transaction removes at most.
const CHUNK: usize = 2000;

/// Finds rows by their ids, ascending, so that no part of a table is read twice: $1 is the id after which to
/// look, $2 an array of values.
macro_rules! find_ids {
    ($table:expr, $condition:expr) => {
        concat!(
            "SELECT array_agg(f.id ORDER BY f.id) FROM (SELECT x.id::bigint AS id FROM ",
            $table,
            " AS x WHERE x.id > $1 AND cardinality($2::text[]) >= 0 AND ",
            $condition,
            " ORDER BY x.id LIMIT 2000) AS f"
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
            IF (input ->> 'is_last')::boolean THEN
                UPDATE config SET value = NULL WHERE name = 'gc-mark';
            END IF;
        END IF;
        PERFORM set_config('hashserv.output', json_build_array(removed, is_current::int)::text, true);
    END"
);

/// What bulk work needs; it goes on when its caller has gone, until the storage is closed.
#[derive(Clone, Debug)]
pub(crate) struct Bulk {
    pub(crate) reads: std::sync::Arc<Reads>,
    pub(crate) writer: Queue<Writer>,
    /// What this storage calls itself in notifications.
    pub(crate) origin: String,
}

/// What a transaction is to remove.
#[derive(Serialize)]
struct Chunk<'a> {
    ids: &'a [i64],
    values: &'a [String],
    is_last: bool,
    origin: &'a str,
}

impl Bulk {
    pub(crate) async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        let removals = [
            Removal::of_rows("unihashes_v3", notify_if_removed(), conditions.of_unihashes()),
            Removal::of_rows("outhashes_v2", "", conditions.of_outhashes()),
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
        let find = if before.is_some() { FIND_OLD_UNUSED } else { FIND_UNUSED };
        let removal = Removal {
            find: find.into_sql_str(),
            delete: DELETE_UNUSED.into_sql_str(),
            values: before.iter().map(|time| naive_time(*time).to_string()).collect(),
        };
        self.detached(async move |bulk| bulk.remove_rows(removal).await).await
    }

    pub(crate) async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        if mark.is_empty() || !is_storable(mark) {
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
            let ids = self.reads.ids(&removal.find, after, &removal.values).await?;
            let Some(last) = ids.last() else { return Ok(removed) };
            let numbers = self.chunk(&removal.delete, &ids, &removal.values, false).await?;
            removed += numbers.first().map_or(0, |count| count.unsigned_abs());
            if ids.len() < CHUNK {
                return Ok(removed);
            }
            after = *last;
        }
    }

    async fn sweep_chunks(&self, mark: String) -> Result<Sweep, StorageError> {
        let (find, chunk) = (FIND_UNMARKED.into_sql_str(), SWEEP_CHUNK.into_sql_str());
        let values = [mark];
        let mut removed = 0;
        let mut after = 0;
        loop {
            let ids = self.reads.ids(&find, after, &values).await?;
            let is_last = ids.len() < CHUNK;
            let numbers = self.chunk(&chunk, &ids, &values, is_last).await?;
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
            after = ids.last().copied().unwrap_or(after);
        }
    }

    async fn chunk(
        &self,
        sql: &SqlStr,
        ids: &[i64],
        values: &[String],
        is_last: bool,
    ) -> Result<Vec<i64>, StorageError> {
        let chunk = Chunk { ids, values, is_last, origin: &self.origin };
        let input = serde_json::to_string(&chunk).map_err(StorageError::backend)?;
        self.writer.run(Program { sql: sql.clone(), input }).await
    }
}

/// Rows of one table to remove.
struct Removal {
    /// Finds their ids.
    find: SqlStr,
    /// Removes those of a [`Chunk`] that still are as they were found.
    delete: SqlStr,
    values: Vec<String>,
}

impl Removal {
    /// The rows that match all conditions; `None` without a condition, or where nothing can match.
    fn of_rows<'a>(
        table: &str,
        afterwards: &str,
        conditions: impl Iterator<Item = (Column, &'a str)>,
    ) -> Option<Self> {
        let mut conditions: Vec<(Column, &str)> = conditions.collect();
        conditions.sort_unstable();
        if conditions.is_empty() || !conditions.iter().all(|(_, value)| is_storable(value)) {
            return None;
        }
        let (columns, values): (Vec<Column>, Vec<&str>) = conditions.into_iter().unzip();
        // The names come from the fixed set of columns.
        let matches = |values: &str| {
            let of_columns = columns.iter().enumerate();
            let terms: Vec<String> = of_columns
                .map(|(index, column)| format!("x.\"{}\" = ({values})[{}]", column.name(), index + 1))
                .collect();
            terms.join(" AND ")
        };
        let find = find_by(table, &matches("$2::text[]"), has_index(&columns));
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
            matches = matches("vals"),
            afterwards = afterwards,
        );
        Some(Removal {
            find: AssertSqlSafe(find).into_sql_str(),
            delete: AssertSqlSafe(delete).into_sql_str(),
            values: values.into_iter().map(str::to_owned).collect(),
        })
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
