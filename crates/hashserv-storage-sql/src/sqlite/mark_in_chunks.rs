//! Marking what a garbage collection keeps where that may be about all rows: a transaction for each chunk.

use hashserv_storage::{MarkRequest, StorageError};
use sqlx::{AssertSqlSafe, SqlSafeStr as _};

use super::bulk::Bulk;
use super::mark::{MAKE_CURRENT, matching, tuples, value_of};
use super::writer::Statements;
use crate::bulk::{CHUNK, Chunks, Removal};
use crate::columns::{columns_and_values, has_index};
use crate::mark::{Run, runs};

impl Bulk {
    /// Marks for one request after the other; those that may be about all rows take a transaction for each chunk.
    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        let mut counts = Vec::with_capacity(requests.len());
        let mut rest = requests;
        while let Some(first) = rest.first() {
            let in_chunks = is_long(first);
            let end = rest.iter().position(|request| is_long(request) != in_chunks);
            let following = rest.split_off(end.unwrap_or(rest.len()));
            let alike = std::mem::replace(&mut rest, following);
            counts.extend(match in_chunks {
                true => mark_in_chunks(self, &alike).await?,
                false => self.writer.mark(alike).await?,
            });
        }
        Ok(counts)
    }
}

/// Returns true if all of the table may have to be read for the request, and changed.
fn is_long(request: &MarkRequest) -> bool {
    let (columns, _) = columns_and_values(request.conditions.of_unihashes());
    !columns.is_empty() && !has_index(&columns)
}

/// Marks for requests that no index serves, a chunk of rows at a time, each a transaction; tells how many rows each
/// matched. What is recorded meanwhile has the mark already.
async fn mark_in_chunks(bulk: &Bulk, requests: &[MarkRequest]) -> Result<Vec<u64>, StorageError> {
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
    use hashserv_storage::Column;
    use sqlx::sqlite::SqliteConnection;
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
