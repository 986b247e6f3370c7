//! Marking what a garbage collection keeps.

use hashserv_storage::{Column, MarkRequest};
use serde::Serialize;

use super::transaction::program;

/// Serves an array of runs one after the other; gives how many rows each of their tuples of values matched.
///
/// The names of the columns are quoted (`%I`), and come from a fixed set.
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
                    SELECT m.id FROM json_array_elements($1) AS t(v) CROSS JOIN LATERAL
                    (SELECT u.id FROM unihashes_v3 AS u WHERE %s OFFSET 0) AS m))', matches)
                    USING run -> 'values', run ->> 'mark';
            END IF;
            results := results || counts;
        END LOOP;
        PERFORM set_config('hashserv.output', array_to_json(results)::text, true);
    END"
);

/// Requests that one statement can serve: of one mark, with conditions on the same columns.
#[derive(Debug, Serialize)]
struct Run<'a> {
    mark: &'a str,
    columns: Vec<&'static str>,
    values: Vec<Vec<&'a str>>,
}

/// The input of [`MARK`].
pub(crate) fn input<'a>(
    requests: impl Iterator<Item = &'a MarkRequest>,
) -> Result<String, serde_json::Error> {
    serde_json::to_string(&runs(requests))
}

fn runs<'a>(requests: impl Iterator<Item = &'a MarkRequest>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for request in requests {
        let mut conditions: Vec<(Column, &str)> = request.conditions.of_unihashes().collect();
        conditions.sort_unstable();
        let columns: Vec<&str> = conditions.iter().map(|(column, _)| column.name()).collect();
        let values = conditions.into_iter().map(|(_, value)| value).collect();
        // What carries which mark changes from one request to the next.
        let alone = columns.contains(&Column::GcMark.name());
        match runs.last_mut() {
            Some(run) if !alone && run.mark == request.mark && run.columns == columns => {
                run.values.push(values);
            }
            _ => runs.push(Run { mark: &request.mark, columns, values: vec![values] }),
        }
    }
    runs
}
