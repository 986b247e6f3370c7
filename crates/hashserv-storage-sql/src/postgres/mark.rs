//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, Conditions, MarkRequest, StorageError};
use serde::Serialize;
use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use super::bulk::{Bulk, Chunk, declare_input, matching};
use super::texts::is_storable;
use super::transaction::program;
use super::writer::Program;
use crate::bulk::CHUNK;
use crate::columns::{columns_and_values, has_index};
use crate::mark::runs;

/// The text of [`MARKED_AT_ONCE`] for statements.
macro_rules! marked_at_once {
    () => {
        64
    };
}

/// Rows that one request marks at most in the transaction that it shares with others. Reports wait for it, so what
/// matches more rows is marked in chunks.
const MARKED_AT_ONCE: u64 = marked_at_once!();

/// Serves an array of runs one after the other; returns the number of rows that each of their tuples of values matched.
/// Those that matched more than [`MARKED_AT_ONCE`] are only counted.
///
/// The names of the columns are quoted (`%I`), and come from a fixed set that an index leads to.
pub(crate) const MARK: &str = program!(
    "DECLARE
        run json;
        matches text;
        counts bigint[];
        results bigint[] := '{}';
    BEGIN
        FOR run IN SELECT json_array_elements(current_setting('hashserv.input')::json) LOOP
            UPDATE config SET value = run ->> 'mark'
                WHERE name = 'gc-mark' AND value IS DISTINCT FROM (run ->> 'mark');
            INSERT INTO config (name, value) SELECT 'gc-mark', run ->> 'mark'
                WHERE NOT EXISTS (SELECT 1 FROM config AS c WHERE c.name = 'gc-mark') ON CONFLICT DO NOTHING;
            SELECT string_agg(format('u.%I = t.v ->> %s', c.name, c.i - 1), ' AND ') INTO matches
                FROM json_array_elements_text(run -> 'columns') WITH ORDINALITY AS c(name, i);
            IF matches IS NULL THEN
                counts := array_fill(0::bigint, ARRAY[json_array_length(run -> 'values')]);
            ELSE
                EXECUTE format('SELECT array_agg((SELECT count(*) FROM unihashes_v3 AS u WHERE %s) ORDER BY t.i)
                    FROM json_array_elements($1) WITH ORDINALITY AS t(v, i)', matches)
                    INTO counts USING run -> 'values';
                EXECUTE format('UPDATE unihashes_v3 SET gc_mark = $2 WHERE gc_mark <> $2 AND id = ANY (ARRAY(
                    SELECT m.id FROM json_array_elements($1) WITH ORDINALITY AS t(v, i) CROSS JOIN LATERAL
                    (SELECT u.id FROM unihashes_v3 AS u WHERE $3[t.i] <= ",
    marked_at_once!(),
    " AND %s OFFSET 0) AS m))', matches)
                    USING run -> 'values', run ->> 'mark', counts;
            END IF;
            results := results || counts;
        END LOOP;
        PERFORM set_config('hashserv.output', array_to_json(results)::text, true);
    END"
);

/// A run as [`MARK`] reads it.
#[derive(Debug, Serialize)]
struct Input<'a> {
    mark: &'a str,
    columns: Vec<&'static str>,
    values: Vec<Vec<&'a str>>,
}

/// The input of [`MARK`].
pub(crate) fn input<'a>(
    requests: impl Iterator<Item = &'a MarkRequest>,
) -> Result<String, serde_json::Error> {
    let inputs = runs(requests).into_iter().map(|run| Input {
        mark: run.mark,
        columns: run.columns.iter().map(|column| column.name()).collect(),
        values: run.values,
    });
    serde_json::to_string(&inputs.collect::<Vec<_>>())
}

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
