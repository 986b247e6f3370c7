//! What may be accepted from an upstream.

use hashserv_log::RateLimitedWarning;
use hashserv_storage::{Details, OuthashRow, Report, TaskKey, Timestamp, UnifiedRow, Unihash};

/// Characters of an invalid unihash that are logged.
const QUOTED: usize = 80;

/// Bytes of a method or a hash that every database can index.
const MAX_HASH: usize = 1024;

/// Judges what an upstream answers, and warns of what is not accepted.
#[derive(Debug, Default)]
pub(crate) struct Vetting {
    invalid: RateLimitedWarning,
}

impl Vetting {
    /// Returns whether a unihash of the upstream may be stored and passed on. BitBake expands unihashes as text
    /// in its configuration language: anything but hex digits would be run as code on every builder.
    pub(crate) fn accepts(&self, unihash: &Unihash) -> bool {
        let valid = unihash.digest().is_some();
        if !valid {
            let shown: String = unihash.to_string().chars().take(QUOTED).collect();
            self.invalid.log(format_args!(
                "the upstream answered {shown:?}, which is no valid unihash; it counts as unknown"
            ));
        }
        valid
    }

    /// Returns whether every database takes the hashes of a task that the upstream knows.
    pub(crate) fn is_storable(&self, key: TaskKey<'_>) -> bool {
        let is_storable = is_storable_task(key);
        if !is_storable {
            self.invalid.log(format_args!(
                "the unihash of a task was not kept: a hash has more than {MAX_HASH} bytes or a NUL character"
            ));
        }
        is_storable
    }

    /// Returns whether a row of the upstream may be stored and passed on.
    pub(crate) fn accepts_row(&self, row: &UnifiedRow) -> bool {
        let OuthashRow { method, taskhash, outhash, details, .. } = &row.report;
        if ![method, taskhash, outhash].into_iter().all(|text| is_storable(text)) {
            self.invalid.log(format_args!(
                "the upstream answered a row with a hash of more than {MAX_HASH} bytes or a NUL character; it \
                 counts as unknown"
            ));
            return false;
        }
        let Details { owner, pn, pv, pr, task, outhash_siginfo } = details;
        let mut details = [owner, pn, pv, pr, task, outhash_siginfo].into_iter().flatten();
        if details.any(|text| has_nul(text)) {
            self.invalid.log("the upstream answered a row with a NUL character; it counts as unknown");
            return false;
        }
        self.accepts(&row.unihash)
    }
}

/// Whether every database takes the hashes of a task.
fn is_storable_task(key: TaskKey<'_>) -> bool {
    is_storable(key.method) && is_storable(key.taskhash)
}

fn is_storable(text: &str) -> bool {
    text.len() <= MAX_HASH && !has_nul(text)
}

/// Databases take no text with a NUL character.
fn has_nul(text: &str) -> bool {
    text.contains('\0')
}

/// The time of a report of the upstream as it is stored. A time that cannot be right becomes the present: one
/// before 1970 would make its report the oldest for ever, one after 9999 sorts wrongly as text.
pub(crate) fn plausible_time(created: Option<Timestamp>) -> Timestamp {
    let now = Timestamp::now();
    created.filter(|created| created.as_datetime().timestamp() >= 0 && *created <= now).unwrap_or(now)
}

/// The report of a row, as it is stored.
pub(crate) fn report_of(row: &UnifiedRow) -> Report {
    let OuthashRow { method, taskhash, outhash, created, details, .. } = row.report.clone();
    let created = plausible_time(created);
    Report { method, taskhash, outhash, unihash: row.unihash.clone(), created, details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_cannot_be_right_becomes_the_present() {
        let before = Timestamp::now();
        for text in [
            "1969-12-31T23:59:59+00:00",
            "0000-01-01T00:00:00+00:00",
            "-0005-01-01T00:00:00",
            "9999-12-31T23:59:59-23:59",
            "+12345-01-01T00:00:00",
            "+262142-12-31T23:59:59.999999999",
            "-262143-01-01 00:00:00",
            "2999-01-01T00:00:00+00:00",
        ] {
            let created = plausible_time(Timestamp::parse(text));
            assert!(created >= before && created <= Timestamp::now(), "{text} {created}");
        }
        assert!(plausible_time(None) >= before);
        let past = Timestamp::parse("1970-01-01T00:00:00+00:00");
        assert_eq!(Some(plausible_time(past)), past);
    }

    #[test]
    fn hashes_that_no_database_indexes_are_not_storable() {
        let (longest, too_long) = ("x".repeat(MAX_HASH), "x".repeat(MAX_HASH + 1));
        assert!(is_storable_task(TaskKey { method: "m", taskhash: &longest }));
        assert!(!is_storable_task(TaskKey { method: "m", taskhash: &too_long }));
        assert!(!is_storable_task(TaskKey { method: "m", taskhash: "\0" }));
        assert!(!is_storable_task(TaskKey { method: &too_long, taskhash: "t" }));
    }
}
