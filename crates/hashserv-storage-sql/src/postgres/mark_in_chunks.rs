//! Marking what a garbage collection keeps: together where an index leads to few rows, else in chunks.

use hashserv_storage::{Column, Conditions, MarkRequest, StorageError};
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::bulk::{Bulk, Chunk, declare_input, matching};
use super::mark::MARKED_AT_ONCE;
use super::texts::is_storable;
use super::transaction::program;
use super::writer::Program;
use crate::bulk::CHUNK;
use crate::columns::{columns_and_values, has_index};

/// Rows that a request marks, found without the lock for writing and marked in chunks.
struct Marking {
    /// Finds the next rows that match, and tells those of them that lack the mark.
    find: SqlStr,
    /// Marks those that still match, and tells whether the mark is the current one.
    update: SqlStr,
    /// Values of the condition, and the mark.
    values: Vec<String>,
}

impl Bulk {
    /// Marks for one request after the other; returns the number of rows that each matched.
    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        let requests: Vec<_> = requests.into_iter().map(without_impossible).collect();
        let mut counts = Vec::with_capacity(requests.len());
        let are_together =
            |one: &MarkRequest, next: &MarkRequest| one.mark == next.mark && is_quick(one) && is_quick(next);
        for requests in requests.chunk_by(are_together) {
            counts.extend(self.mark_together(requests).await?);
        }
        Ok(counts)
    }

    /// Serves requests of one mark that an index leads to, or a single one.
    async fn mark_together(&self, requests: &[MarkRequest]) -> Result<Vec<u64>, StorageError> {
        let [request] = requests else { return self.mark_quickly(requests).await };
        if is_quick(request) {
            return self.mark_quickly(requests).await;
        }
        let begin = MarkRequest { mark: request.mark.clone(), conditions: Conditions::default() };
        self.writer.mark(vec![begin]).await?;
        Ok(vec![self.mark_in_chunks(request).await?])
    }

    async fn mark_quickly(&self, requests: &[MarkRequest]) -> Result<Vec<u64>, StorageError> {
        let mut counts = self.writer.mark(requests.to_vec()).await?;
        for (request, count) in requests.iter().zip(&mut counts) {
            if *count > MARKED_AT_ONCE {
                *count = self.mark_in_chunks(request).await?;
            }
        }
        Ok(counts)
    }

    /// Ends when all that match are marked, or when another mark has become the current one: what is marked then must
    /// stay so.
    async fn mark_in_chunks(&self, request: &MarkRequest) -> Result<u64, StorageError> {
        let marking = Marking::of(request);
        let (mut count, mut after) = (0, 0);
        loop {
            let Some((found, last, ids)) = self.reads.matches(&marking.find, after, &marking.values).await?
            else {
                return Ok(count);
            };
            count += found.unsigned_abs();
            let is_current = match ids {
                Some(ids) => self.mark_chunk(&marking, &ids).await?,
                None => true,
            };
            let (true, true, Some(last)) = (is_current, found.unsigned_abs() >= CHUNK as u64, last) else {
                return Ok(count);
            };
            after = last;
        }
    }

    async fn mark_chunk(&self, marking: &Marking, ids: &[i64]) -> Result<bool, StorageError> {
        let chunk = Chunk { ids, values: &marking.values, origin: "" };
        let input = serde_json::to_string(&chunk).map_err(StorageError::backend)?;
        let output = self.writer.run(Program { sql: marking.update.clone(), input }).await?;
        Ok(output.first().is_some_and(|is_current| *is_current != 0))
    }
}

impl Marking {
    fn of(request: &MarkRequest) -> Self {
        let (columns, values) = columns_and_values(request.conditions.of_unihashes());
        let (fence, mark) = (if has_index(&columns) { "OFFSET 0" } else { "" }, columns.len() + 1);
        let find = format!(
            "SELECT count(*), max(f.id), \
                array_agg(f.id ORDER BY f.id) FILTER (WHERE f.gc_mark <> ($2::text[])[{mark}]) \
             FROM (SELECT y.id, y.gc_mark FROM \
                (SELECT x.id::bigint AS id, x.id AS number, x.gc_mark FROM unihashes_v3 AS x WHERE {matches} {fence}) \
                AS y WHERE y.number > $1 ORDER BY y.number LIMIT {CHUNK}) AS f",
            matches = matching(&columns, "$2::text[]"),
        );
        let update = format!(
            program!(
                declare_input!(),
                "BEGIN
                    is_current := EXISTS (SELECT 1 FROM config AS c WHERE c.name = 'gc-mark' AND c.value = vals[{mark}]);
                    IF is_current THEN
                        UPDATE unihashes_v3 AS x SET gc_mark = vals[{mark}]
                            WHERE x.id = ANY (ids) AND x.gc_mark <> vals[{mark}] AND {matches};
                    END IF;
                    PERFORM set_config('hashserv.output', json_build_array(is_current::int)::text, true);
                END"
            ),
            mark = mark,
            matches = matching(&columns, "vals"),
        );
        let values = values.into_iter().chain([request.mark.as_str()]).map(str::to_owned).collect();
        Marking {
            find: AssertSqlSafe(find).into_sql_str(),
            update: AssertSqlSafe(update).into_sql_str(),
            values,
        }
    }
}

/// Whether an index leads to what a request marks, and the order among its neighbours makes no difference.
fn is_quick(request: &MarkRequest) -> bool {
    let (columns, _) = columns_and_values(request.conditions.of_unihashes());
    columns.is_empty() || has_index(&columns) && !columns.contains(&Column::GcMark)
}

/// A condition that no row can match becomes none, with which a request marks nothing.
fn without_impossible(request: MarkRequest) -> MarkRequest {
    let is_possible = request.conditions.of_unihashes().all(|(_, value)| is_storable(value));
    let conditions = if is_possible { request.conditions } else { Conditions::default() };
    MarkRequest { mark: request.mark, conditions }
}
