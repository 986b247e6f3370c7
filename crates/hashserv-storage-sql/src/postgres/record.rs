//! Recording reports and unihashes.

use chrono::NaiveDateTime;
use hashserv_storage::{Report, Timestamp, UnihashEntry};
use serde::Serialize;
use sqlx::{SqlSafeStr as _, SqlStr};

use super::transaction::program;
use crate::queue::{Kind, Recordable};

/// Records reports one after the other, as the rules of equivalence want. Each sees those before it.
///
/// A report is never older than those that are there: what was acknowledged stays the oldest, also where a clock is
/// behind, or where the upstream's report of the same output comes late.
///
/// What is there is looked for first: an `INSERT` that finds it would use up a number of the sequence that
/// the ids of 32 bits come from. `ON CONFLICT` is for servers that do not take our lock. The reports of an
/// output are sorted before they are joined, so that the join ends with the first that has a unihash.
const RECORD_REPORTS: &str = program!(
    "DECLARE
        mark text := coalesce((SELECT c.value FROM config AS c WHERE c.name = 'gc-mark'), '');
        given text;
        results text[] := '{}';
        r record;
    BEGIN
        FOR r IN
            SELECT * FROM json_to_recordset(current_setting('hashserv.input')::json) AS x(
                method text, taskhash text, outhash text, unihash text, created timestamp, owner text,
                pn text, pv text, pr text, task text, outhash_siginfo text)
        LOOP
            INSERT INTO outhashes_v2
                (method, taskhash, outhash, created, owner, \"PN\", \"PV\", \"PR\", task, outhash_siginfo)
                SELECT r.method, r.taskhash, r.outhash,
                       greatest(r.created, (SELECT max(o.created) FROM outhashes_v2 AS o
                                            WHERE o.method = r.method AND o.outhash = r.outhash)),
                       r.owner, r.pn, r.pv, r.pr, r.task, r.outhash_siginfo
                WHERE NOT EXISTS (
                    SELECT 1 FROM outhashes_v2 AS o
                    WHERE o.method = r.method AND o.taskhash = r.taskhash AND o.outhash = r.outhash)
                ON CONFLICT DO NOTHING;
            SELECT u.unihash INTO given FROM unihashes_v3 AS u
                WHERE u.method = r.method AND u.taskhash = r.taskhash;
            IF NOT FOUND THEN
                SELECT u.unihash INTO given
                    FROM (SELECT o.taskhash, o.created, o.id FROM outhashes_v2 AS o
                          WHERE o.method = r.method AND o.outhash = r.outhash AND o.taskhash <> r.taskhash
                          ORDER BY o.created, o.id) AS o
                    JOIN unihashes_v3 AS u ON u.method = r.method AND u.taskhash = o.taskhash
                    ORDER BY o.created, o.id LIMIT 1;
                INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
                    VALUES (r.method, r.taskhash, coalesce(given, r.unihash), mark)
                    ON CONFLICT DO NOTHING;
                SELECT u.unihash INTO STRICT given FROM unihashes_v3 AS u
                    WHERE u.method = r.method AND u.taskhash = r.taskhash;
            END IF;
            results := array_append(results, given);
        END LOOP;
        PERFORM set_config('hashserv.output', array_to_json(results)::text, true);
    END"
);

const RECORD_UNIHASHES: &str = program!(
    "DECLARE
        mark text := coalesce((SELECT c.value FROM config AS c WHERE c.name = 'gc-mark'), '');
        given text;
        results text[] := '{}';
        r record;
    BEGIN
        FOR r IN
            SELECT * FROM json_to_recordset(current_setting('hashserv.input')::json) AS x(
                method text, taskhash text, unihash text)
        LOOP
            INSERT INTO unihashes_v3 (method, taskhash, unihash, gc_mark)
                SELECT r.method, r.taskhash, r.unihash, mark
                WHERE NOT EXISTS (
                    SELECT 1 FROM unihashes_v3 AS u WHERE u.method = r.method AND u.taskhash = r.taskhash)
                ON CONFLICT DO NOTHING;
            SELECT u.unihash INTO STRICT given FROM unihashes_v3 AS u
                WHERE u.method = r.method AND u.taskhash = r.taskhash;
            results := array_append(results, given);
        END LOOP;
        PERFORM set_config('hashserv.output', array_to_json(results)::text, true);
    END"
);

/// Turns an array of items into an array of the unihashes that their tasks then have.
pub(crate) fn program(kind: Kind) -> SqlStr {
    match kind {
        Kind::Reports => RECORD_REPORTS.into_sql_str(),
        Kind::Unihashes => RECORD_UNIHASHES.into_sql_str(),
    }
}

/// What one caller wants recorded.
#[derive(Debug)]
pub(crate) struct Records {
    kind: Kind,
    /// JSON objects, separated by commas.
    items: String,
    count: usize,
}

#[derive(Serialize)]
struct ReportItem<'a> {
    method: &'a str,
    taskhash: &'a str,
    outhash: &'a str,
    unihash: String,
    created: String,
    owner: Option<&'a str>,
    pn: Option<&'a str>,
    pv: Option<&'a str>,
    pr: Option<&'a str>,
    task: Option<&'a str>,
    outhash_siginfo: Option<&'a str>,
}

#[derive(Serialize)]
struct UnihashItem<'a> {
    method: &'a str,
    taskhash: &'a str,
    unihash: String,
}

impl Records {
    pub(crate) fn of_reports(reports: &[Report]) -> Result<Self, serde_json::Error> {
        let items = reports.iter().map(|report| ReportItem {
            method: &report.method,
            taskhash: &report.taskhash,
            outhash: &report.outhash,
            unihash: report.unihash.to_string(),
            created: naive_time(report.created).format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            owner: report.details.owner.as_deref(),
            pn: report.details.pn.as_deref(),
            pv: report.details.pv.as_deref(),
            pr: report.details.pr.as_deref(),
            task: report.details.task.as_deref(),
            outhash_siginfo: report.details.outhash_siginfo.as_deref(),
        });
        Ok(Records { kind: Kind::Reports, items: joined(items)?, count: reports.len() })
    }

    pub(crate) fn of_entries(entries: &[UnihashEntry]) -> Result<Self, serde_json::Error> {
        let items = entries.iter().map(|entry| UnihashItem {
            method: &entry.method,
            taskhash: &entry.taskhash,
            unihash: entry.unihash.to_string(),
        });
        Ok(Records { kind: Kind::Unihashes, items: joined(items)?, count: entries.len() })
    }
}

impl Recordable for Records {
    fn kind(&self) -> Kind {
        self.kind
    }

    fn count(&self) -> usize {
        self.count
    }

    fn bytes(&self) -> usize {
        self.items.len()
    }
}

fn joined(items: impl Iterator<Item = impl Serialize>) -> Result<String, serde_json::Error> {
    let items: Vec<String> = items.map(|item| serde_json::to_string(&item)).collect::<Result<_, _>>()?;
    Ok(items.join(","))
}

/// All the items as one JSON array.
pub(crate) fn input<'a>(records: impl Iterator<Item = &'a Records>) -> String {
    let parts: Vec<&str> =
        records.filter(|records| records.count > 0).map(|records| &*records.items).collect();
    format!("[{}]", parts.join(","))
}

/// The time in UTC, of the years that PostgreSQL and people write with four digits.
pub(crate) fn naive_time(time: Timestamp) -> NaiveDateTime {
    let bound = |year, month, day| {
        chrono::NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default().and_time(chrono::NaiveTime::MIN)
    };
    time.as_datetime().naive_utc().clamp(bound(1, 1, 1), bound(9999, 12, 31))
}

#[cfg(test)]
mod tests {
    use hashserv_storage::Unihash;

    use super::*;

    #[test]
    fn items_of_several_callers_are_one_array() {
        let entry = |taskhash: &str| UnihashEntry {
            method: "m\"".to_owned(),
            taskhash: taskhash.to_owned(),
            unihash: Unihash::from_stored("u"),
        };
        let records = [vec![entry("a"), entry("b")], vec![], vec![entry("c")]]
            .map(|entries| Records::of_entries(&entries).unwrap());
        let value: serde_json::Value = serde_json::from_str(&input(records.iter())).unwrap();
        let taskhashes: Vec<_> =
            value.as_array().unwrap().iter().map(|item| item["taskhash"].as_str()).collect();
        assert_eq!(taskhashes, [Some("a"), Some("b"), Some("c")]);
        assert_eq!(input(records[1..2].iter()), "[]");
    }

    #[test]
    fn times_out_of_reach_become_the_nearest() {
        let shown = |time| naive_time(time).to_string();
        let now = Timestamp::now();
        assert_eq!(shown(now.minus_seconds(f64::INFINITY)), "0001-01-01 00:00:00");
        assert_eq!(naive_time(now), now.as_datetime().naive_utc());
    }
}
