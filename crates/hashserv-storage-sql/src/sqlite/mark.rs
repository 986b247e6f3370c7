//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, MarkRequest, StorageError};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

use super::bulk::Bulk;
use super::error::SharedError;
use super::json::{self, Items};
use super::transaction::{roll_back, run_statements, transaction};
use super::writer::Statements;
use crate::bulk::{CHUNK, Chunks, Removal};
use crate::columns::{columns_and_values, has_index};
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

const MAKE_CURRENT: &str = transaction!(set_current!(), "; SELECT json_array(changes())");

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
fn tuples(run: &Run<'_>) -> String {
    let items = match run.columns[..] {
        [_] => Items::of_texts(run.values.iter().flatten()),
        _ => Items::of_tuples(run.values.iter().map(Vec::as_slice)),
    };
    json::array([&items])
}

/// The value of a column in a tuple of `json_each`.
fn value_of(columns: &[Column], index: usize) -> String {
    if columns.len() == 1 { "value".to_owned() } else { format!("value ->> {index}") }
}

/// The condition that the row `u` has the values of the tuple `t`.
fn matching(columns: &[Column]) -> String {
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

/// Returns true if all of the table may have to be read for the request, and changed.
pub(crate) fn is_long(request: &MarkRequest) -> bool {
    let (columns, _) = columns_and_values(request.conditions.of_unihashes());
    !columns.is_empty() && !has_index(&columns)
}

/// Marks for requests that no index serves, a chunk of rows at a time, each a transaction; tells how many rows each
/// matched. What is recorded meanwhile has the mark already.
pub(crate) async fn mark_in_chunks(bulk: &Bulk, requests: &[MarkRequest]) -> Result<Vec<u64>, StorageError> {
    let mut counts = Vec::with_capacity(requests.len());
    for run in runs(requests) {
        let arguments = vec![String::new(), run.mark.to_owned()];
        bulk.writer.run(Statements { sql: MAKE_CURRENT.into_sql_str(), arguments }).await?;
        let found = mark_chunks(bulk, &marking(&run)).await?;
        let found = if found.is_empty() { vec![0; run.values.len()] } else { found };
        counts.extend(found.into_iter().map(i64::unsigned_abs));
    }
    Ok(counts)
}

async fn mark_chunks(bulk: &Bulk, marking: &Removal) -> Result<Vec<i64>, StorageError> {
    let mut counts = Vec::new();
    let mut after = 0;
    loop {
        let ids = bulk.find(marking, after).await?;
        let Some(last) = ids.last() else { return Ok(counts) };
        // The first is how many rows there are in the chunk.
        let numbers = Chunks::remove(bulk, marking, &ids).await?;
        let numbers = numbers.get(1..).unwrap_or_default();
        counts.resize(numbers.len(), 0);
        counts.iter_mut().zip(numbers).for_each(|(count, number)| *count += number);
        if ids.len() < CHUNK {
            return Ok(counts);
        }
        after = *last;
    }
}

/// The rows that match a tuple in ?2; the statement for a chunk marks them with ?3, unless another mark is the current
/// one by now.
///
/// However many tuples there are, a search reads the table once.
fn marking(run: &Run<'_>) -> Removal {
    let names: Vec<&str> = run.columns.iter().map(|column| column.name()).collect();
    let values: Vec<String> = (0..names.len()).map(|index| value_of(&run.columns, index)).collect();
    let (names, values, matches) = (names.join(", "), values.join(", "), matching(&run.columns));
    let find = format!(
        "SELECT json_group_array(id) FROM (SELECT id FROM unihashes_v3 NOT INDEXED WHERE id > ?1 \
         AND ({names}) IN (SELECT {values} FROM json_each(?2)) AND ?3 IS NOT NULL ORDER BY id LIMIT {CHUNK})"
    );
    let mark = format!(
        "BEGIN IMMEDIATE; \
         WITH chunk AS MATERIALIZED (SELECT {names}, count(*) AS n FROM unihashes_v3 \
         WHERE id IN (SELECT value FROM json_each(?1)) GROUP BY {names}) \
         SELECT json_group_array(n) FROM (SELECT json_array_length(?1) AS n UNION ALL \
         SELECT coalesce(u.n, 0) FROM json_each(?2) AS t LEFT JOIN chunk AS u ON {matches}); \
         UPDATE unihashes_v3 SET gc_mark = ?3 WHERE id IN (SELECT value FROM json_each(?1)) AND gc_mark <> ?3 \
         AND ({names}) IN (SELECT {values} FROM json_each(?2)) \
         AND EXISTS (SELECT 1 FROM config WHERE name = 'gc-mark' AND value = ?3); COMMIT"
    );
    Removal {
        find: AssertSqlSafe(find).into_sql_str(),
        delete: AssertSqlSafe(mark).into_sql_str(),
        values: vec![tuples(run), run.mark.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Row as _};

    use super::super::schema;
    use super::*;

    /// Without an index a search for each tuple would read all of the table each time.
    #[tokio::test]
    async fn many_tuples_without_an_index_are_searched_for_together() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        schema::create_or_upgrade(&mut connection).await.unwrap();
        let run = Run { mark: "m", columns: vec![Column::Taskhash], values: vec![vec!["a"], vec!["b"]] };
        let Removal { find, delete, .. } = marking(&run);
        let mut searches = 0;
        for statement in [find.as_str()].into_iter().chain(delete.as_str().split(';')) {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            for row in sqlx::query(explain).fetch_all(&mut connection).await.unwrap() {
                let step: String = row.get("detail");
                assert!(!step.starts_with("SCAN unihashes_v3") && !step.starts_with("CORRELATED"), "{step}");
                searches += usize::from(step.starts_with("SEARCH unihashes_v3 USING INTEGER PRIMARY KEY"));
            }
        }
        assert_eq!(searches, 3);
    }
}
