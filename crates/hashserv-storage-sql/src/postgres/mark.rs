//! Marking what a garbage collection keeps.

use hashserv_storage::MarkRequest;
use serde::Serialize;

use super::transaction::program;
use crate::mark::runs;

/// The text of [`MARKED_AT_ONCE`] for statements.
macro_rules! marked_at_once {
    () => {
        64
    };
}

/// Rows that one request marks at most in the transaction that it shares with others. Reports wait for it, so what
/// matches more rows is marked in chunks.
pub(crate) const MARKED_AT_ONCE: u64 = marked_at_once!();

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
