//! What the tests report.

use crate::{
    Column, Conditions, Details, MarkRequest, OuthashKey, Report, TaskKey, Timestamp, Unihash, UnihashEntry,
};

/// The method of all that names no other.
pub(super) const METHOD: &str = "tests.Method";

/// The unihash of 32 times that byte.
pub(super) fn unihash(byte: u8) -> Unihash {
    Unihash::from([byte; 32])
}

/// A time, `seconds` after a fixed one.
pub(super) fn at(seconds: u32) -> Timestamp {
    let text =
        format!("2026-01-31T{:02}:{:02}:{:02}.250000+00:00", seconds / 3600, seconds / 60 % 60, seconds % 60);
    Timestamp::parse(&text).expect("a valid time")
}

/// A report of the taskhash and outhash, made at the beginning of time as [`at`] has it.
pub(super) fn report(taskhash: &str, outhash: &str, unihash: Unihash) -> Report {
    Report {
        method: METHOD.to_owned(),
        taskhash: taskhash.to_owned(),
        outhash: outhash.to_owned(),
        unihash,
        created: at(0),
        details: Details::default(),
    }
}

/// As [`report`], made at a time.
pub(super) fn report_at(taskhash: &str, outhash: &str, unihash: Unihash, created: Timestamp) -> Report {
    Report { created, ..report(taskhash, outhash, unihash) }
}

pub(super) fn entry(taskhash: &str, unihash: Unihash) -> UnihashEntry {
    UnihashEntry { method: METHOD.to_owned(), taskhash: taskhash.to_owned(), unihash }
}

pub(super) fn task(taskhash: &str) -> TaskKey<'_> {
    TaskKey { method: METHOD, taskhash }
}

pub(super) fn output(outhash: &str) -> OuthashKey<'_> {
    OuthashKey { method: METHOD, outhash }
}

pub(super) fn conditions<const N: usize>(conditions: [(Column, &str); N]) -> Conditions {
    conditions.into_iter().map(|(column, value)| (column, value.to_owned())).collect()
}

pub(super) fn mark<const N: usize>(mark: &str, named: [(Column, &str); N]) -> MarkRequest {
    MarkRequest { mark: mark.to_owned(), conditions: conditions(named) }
}

/// Texts that databases, JSON and SQL trip over.
///
/// Without U+0000, which PostgreSQL cannot store.
pub(super) const ODD_TEXTS: [&str; 12] = [
    "",
    " ",
    "'; DROP TABLE users; --",
    "\"quoted\" \\ back\\slash",
    "new\nline\r\ttab",
    "\u{1}\u{1f}\u{7f}",
    "Grüße 日本 😀 \u{2028}",
    "e\u{301}",
    "{\"json\": [null, 1]}",
    "%_*?[a]",
    "$1 ?1 :a @b",
    "null",
];
