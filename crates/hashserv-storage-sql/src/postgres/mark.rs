//! Marking what a garbage collection keeps.

use hashserv_storage::MarkRequest;
use serde::Serialize;

use super::transaction::program;
use crate::columns::has_index;
use crate::mark::runs;

/// Serves an array of runs one after the other; gives how many rows each of their tuples of values matched.
///
/// The names of the columns are quoted (`%I`), and come from a fixed set. Without an index each statement reads the
/// table once, however many tuples there are.
pub(crate) const MARK: &str = program!(
    "DECLARE
        run json;
        matches text;
        names text;
        vals text;
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
            ELSIF (run ->> 'indexed')::boolean THEN
                EXECUTE format('SELECT array_agg((SELECT count(*) FROM unihashes_v3 AS u WHERE %s) ORDER BY t.i)
                    FROM json_array_elements($1) WITH ORDINALITY AS t(v, i)', matches)
                    INTO counts USING run -> 'values';
                EXECUTE format('UPDATE unihashes_v3 SET gc_mark = $2 WHERE gc_mark <> $2 AND id = ANY (ARRAY(
                    SELECT m.id FROM json_array_elements($1) AS t(v) CROSS JOIN LATERAL
                    (SELECT u.id FROM unihashes_v3 AS u WHERE %s OFFSET 0) AS m))', matches)
                    USING run -> 'values', run ->> 'mark';
            ELSE
                SELECT string_agg(format('%I', c.name), ', '), string_agg(format('t.v ->> %s', c.i - 1), ', ')
                    INTO names, vals
                    FROM json_array_elements_text(run -> 'columns') WITH ORDINALITY AS c(name, i);
                PERFORM set_config('enable_seqscan', 'on', true);
                EXECUTE format('SELECT array_agg(coalesce(u.n, 0) ORDER BY t.i)
                    FROM json_array_elements($1) WITH ORDINALITY AS t(v, i)
                    LEFT JOIN (SELECT %1$s, count(*) AS n FROM unihashes_v3
                        WHERE (%1$s) IN (SELECT %2$s FROM json_array_elements($1) AS t(v)) GROUP BY %1$s) AS u ON %3$s',
                    names, vals, matches) INTO counts USING run -> 'values';
                EXECUTE format('UPDATE unihashes_v3 SET gc_mark = $2 WHERE gc_mark <> $2
                    AND (%s) IN (SELECT %s FROM json_array_elements($1) AS t(v))', names, vals)
                    USING run -> 'values', run ->> 'mark';
                PERFORM set_config('enable_seqscan', 'off', true);
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
    indexed: bool,
}

/// The input of [`MARK`].
pub(crate) fn input<'a>(
    requests: impl Iterator<Item = &'a MarkRequest>,
) -> Result<String, serde_json::Error> {
    let inputs = runs(requests).into_iter().map(|run| Input {
        mark: run.mark,
        columns: run.columns.iter().map(|column| column.name()).collect(),
        values: run.values,
        indexed: has_index(&run.columns),
    });
    serde_json::to_string(&inputs.collect::<Vec<_>>())
}
