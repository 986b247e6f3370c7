//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, MarkRequest};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::error::SharedError;
use super::json::{self, Items};
use super::transaction::{roll_back, run_statements};
use crate::columns::has_index;
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

const SET_CURRENT: &str = "\
    INSERT INTO config (name, value) VALUES ('gc-mark', ?2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";

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
    let tuples = match run.columns[..] {
        // SQLite need not read the text of each tuple again.
        [_] => Items::of_texts(run.values.iter().flatten()),
        _ => Items::of_tuples(run.values.iter().map(Vec::as_slice)),
    };
    let arguments = [json::array([&tuples]), run.mark.to_owned()];
    let found = run_statements(writer, AssertSqlSafe(sql), arguments).await?;
    counts(&found, run).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// How many rows each request of the run matches, from what its statement gave.
fn counts(found: &str, run: &Run<'_>) -> Result<Vec<u64>, serde_json::Error> {
    let numbers = json::parse_numbers(found)?;
    if !has_index(&run.columns) {
        let counts = json::expect_count(numbers, run.values.len())?;
        return Ok(counts.into_iter().map(i64::unsigned_abs).collect());
    }
    let mut counts = vec![0; run.values.len()];
    for request in numbers {
        if let Some(count) = usize::try_from(request).ok().and_then(|request| counts.get_mut(request)) {
            *count += 1;
        }
    }
    Ok(counts)
}

/// Makes ?2 the current mark, and marks the rows that match a tuple of values in ?1. Of one column there are values
/// instead of tuples. Tells how many rows each tuple matches; with an index, which tuple each row matches.
fn mark_sql(columns: &[Column]) -> String {
    if columns.is_empty() {
        return format!("{SET_CURRENT}; SELECT json_group_array(0) FROM json_each(?1)");
    }
    let value = |index| match columns.len() {
        1 => "value".to_owned(),
        _ => format!("value ->> {index}"),
    };
    // The names come from the fixed set of columns.
    let of_columns = columns.iter().map(|column| column.name()).enumerate();
    let matches = of_columns.clone().map(|(index, name)| format!("u.{name} = t.{}", value(index)));
    let matches = matches.collect::<Vec<_>>().join(" AND ");
    if has_index(columns) {
        return format!(
            "{SET_CURRENT}; \
             INSERT INTO matches SELECT ?2, json_group_array(u.id), json_group_array(t.key) \
             FROM json_each(?1) AS t CROSS JOIN unihashes_v3 AS u WHERE {matches} RETURNING requests"
        );
    }
    let (values, names): (Vec<_>, Vec<_>) = of_columns.map(|(index, name)| (value(index), name)).unzip();
    let (values, names) = (values.join(", "), names.join(", "));
    // All rows may match: they are not listed, but searched for twice. However many tuples there are, each search
    // reads the table once.
    format!(
        "{SET_CURRENT}; \
         WITH counts AS MATERIALIZED (SELECT {names}, count(*) AS n FROM unihashes_v3 \
         WHERE ({names}) IN (SELECT {values} FROM json_each(?1)) GROUP BY {names}) \
         SELECT json_group_array(coalesce(u.n, 0)) FROM json_each(?1) AS t LEFT JOIN counts AS u ON {matches}; \
         UPDATE unihashes_v3 SET gc_mark = ?2 \
         WHERE gc_mark <> ?2 AND ({names}) IN (SELECT {values} FROM json_each(?1))"
    )
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
        let mut scans = 0;
        for statement in mark_sql(&[Column::Taskhash]).split(';') {
            let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
            for row in sqlx::query(explain).fetch_all(&mut connection).await.unwrap() {
                let step: String = row.get("detail");
                assert!(!step.starts_with("SCAN u ") && !step.starts_with("CORRELATED"), "{step}");
                scans += usize::from(step.starts_with("SCAN unihashes_v3"));
            }
        }
        assert_eq!(scans, 2);
    }
}
