//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, MarkRequest};
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::error::SharedError;
use super::json::{self, Items};
use super::transaction::{roll_back, run_statements};

const SET_CURRENT: &str = "\
    INSERT INTO config (name, value) VALUES ('gc-mark', ?2) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";

/// Requests that one statement can serve: of one mark, with conditions on the same columns.
struct Run<'a> {
    mark: &'a str,
    columns: Vec<Column>,
    values: Vec<Vec<&'a str>>,
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
        [_] => Items::of_texts(run.values.iter().flatten()),
        _ => Items::of_tuples(run.values.iter().map(Vec::as_slice)),
    };
    let arguments = [json::array([&tuples]), run.mark.to_owned()];
    let found = run_statements(writer, AssertSqlSafe(sql), arguments).await?;
    let found = json::parse_numbers(&found)
        .and_then(|found| json::expect_count(found, run.values.len()))
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(found.into_iter().map(i64::unsigned_abs).collect())
}

fn runs<'a>(requests: impl IntoIterator<Item = &'a MarkRequest>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for request in requests {
        let mut conditions: Vec<(Column, &str)> = request.conditions.of_unihashes().collect();
        conditions.sort_unstable();
        let (columns, values): (Vec<_>, Vec<_>) = conditions.into_iter().unzip();
        // What carries which mark changes from one request to the next.
        let alone = columns.contains(&Column::GcMark);
        match runs.last_mut() {
            Some(run) if !alone && run.mark == request.mark && run.columns == columns => {
                run.values.push(values);
            }
            _ => runs.push(Run { mark: &request.mark, columns, values: vec![values] }),
        }
    }
    runs
}

/// Makes ?2 the current mark, tells how many rows each tuple of values in ?1 matches, and marks those. Of one column
/// there are values instead of tuples.
fn mark_sql(columns: &[Column]) -> String {
    if columns.is_empty() {
        return format!("{SET_CURRENT}; SELECT json_group_array(0) FROM json_each(?1)");
    }
    let matches = columns.iter().enumerate().map(|(index, column)| {
        // The name comes from the fixed set of columns.
        match columns.len() {
            1 => format!("u.{} = t.value", column.name()),
            _ => format!("u.{} = t.value ->> {index}", column.name()),
        }
    });
    let matches = matches.collect::<Vec<_>>().join(" AND ");
    format!(
        "{SET_CURRENT}; \
         SELECT json_group_array((SELECT count(*) FROM unihashes_v3 AS u WHERE {matches})) FROM json_each(?1) AS t; \
         UPDATE unihashes_v3 SET gc_mark = ?2 WHERE gc_mark <> ?2 AND id IN \
         (SELECT u.id FROM json_each(?1) AS t CROSS JOIN unihashes_v3 AS u WHERE {matches})"
    )
}
