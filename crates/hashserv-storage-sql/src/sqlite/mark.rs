//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, MarkRequest};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::error::SharedError;
use super::json::{self, Items};
use super::transaction::{roll_back, run_statements, transaction};
use crate::mark::{Run, runs};

/// A view into which the rows that match a run of requests are inserted as one row: their ids, and which of the
/// requests each matches. So they are searched for once, to be counted and to be marked.
const CREATE_MARKER: &str = "
CREATE TEMP VIEW matches AS SELECT NULL AS mark, NULL AS ids, NULL AS requests;
CREATE TEMP TRIGGER mark_matches INSTEAD OF INSERT ON matches BEGIN
    UPDATE unihashes_v3 SET gc_mark = NEW.mark
        WHERE gc_mark <> NEW.mark AND id IN (SELECT value FROM json_each(NEW.ids));
END;
";

/// Makes ?2 the current mark.
macro_rules! set_current {
    () => {
        "INSERT INTO config (name, value) VALUES ('gc-mark', ?2) \
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value"
    };
}

const SET_CURRENT: &str = set_current!();

pub(crate) const MAKE_CURRENT: &str = transaction!(set_current!(), "; SELECT json_array(changes())");

/// Prepares the connection that writes.
pub(crate) async fn create_marker(writer: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    writer.execute(CREATE_MARKER).await?;
    Ok(())
}

/// Serves the requests one after the other in one transaction; tells how many rows each matched.
pub(crate) async fn mark(
    writer: &mut SqliteConnection,
    requests: impl IntoIterator<Item = &MarkRequest>,
) -> Result<Vec<u64>, SharedError> {
    let result = mark_runs(writer, runs(requests)).await;
    if result.is_err() {
        roll_back(writer).await;
    }
    Ok(result?)
}

async fn mark_runs(writer: &mut SqliteConnection, runs: Vec<Run<'_>>) -> Result<Vec<u64>, sqlx::Error> {
    if let [run] = &runs[..] {
        return mark_run(writer, run, format!("BEGIN IMMEDIATE; {}; COMMIT", mark_sql(&run.columns))).await;
    }
    let mut counts = Vec::new();
    writer.execute("BEGIN IMMEDIATE").await?;
    for run in &runs {
        counts.extend(mark_run(writer, run, mark_sql(&run.columns)).await?);
    }
    writer.execute("COMMIT").await?;
    Ok(counts)
}

async fn mark_run(
    writer: &mut SqliteConnection,
    run: &Run<'_>,
    sql: String,
) -> Result<Vec<u64>, sqlx::Error> {
    let arguments = [tuples(run), run.mark.to_owned()];
    let found = run_statements(writer, AssertSqlSafe(sql), arguments).await?;
    counts(&found, run).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many rows each request of the run matches, from what its statement gave: which request each row matches.
fn counts(found: &str, run: &Run<'_>) -> Result<Vec<u64>, serde_json::Error> {
    let numbers = json::parse_numbers(found)?;
    let mut counts = vec![0; run.values.len()];
    for request in numbers {
        if let Some(count) = usize::try_from(request).ok().and_then(|request| counts.get_mut(request)) {
            *count += 1;
        }
    }
    Ok(counts)
}

/// The values of all requests of a run: tuples, or texts where there is one column, so that SQLite need not read each
/// again.
pub(crate) fn tuples(run: &Run<'_>) -> String {
    let items = match run.columns[..] {
        [_] => Items::of_texts(run.values.iter().flatten()),
        _ => Items::of_tuples(run.values.iter().map(Vec::as_slice)),
    };
    json::array([&items])
}

/// The value of a column in a tuple of `json_each`.
pub(crate) fn value_of(columns: &[Column], index: usize) -> String {
    if columns.len() == 1 { "value".to_owned() } else { format!("value ->> {index}") }
}

/// The condition that the row `u` has the values of the tuple `t`.
pub(crate) fn matching(columns: &[Column]) -> String {
    // The names come from the fixed set of columns.
    let matches = columns.iter().enumerate();
    let matches =
        matches.map(|(index, column)| format!("u.{} = t.{}", column.name(), value_of(columns, index)));
    matches.collect::<Vec<_>>().join(" AND ")
}

/// Makes ?2 the current mark, and marks the rows that match a tuple in ?1, found by an index. Tells which tuple each row
/// matches.
fn mark_sql(columns: &[Column]) -> String {
    if columns.is_empty() {
        return format!("{SET_CURRENT}; SELECT '[]'");
    }
    let matches = matching(columns);
    format!(
        "{SET_CURRENT}; \
         INSERT INTO matches SELECT ?2, json_group_array(u.id), json_group_array(t.key) \
         FROM json_each(?1) AS t CROSS JOIN unihashes_v3 AS u WHERE {matches} RETURNING requests"
    )
}
