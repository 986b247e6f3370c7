//! Questions for rows, and what is taken for their answers.

use std::hash::{Hash, Hasher};

use hashserv_client::ClientError;
use hashserv_client::stream::MAX_QUERY;
use hashserv_protocol::Call;
use hashserv_protocol::arguments::{Output, Task};
use hashserv_protocol::reply::Row;
use hashserv_storage::{Details, OuthashKey, OuthashRow, TaskKey, Timestamp, UnifiedRow, Unihash};

/// What no task has, to try an upstream with.
pub(crate) const PROBE_METHOD: &str = "hashserv.upstream.probe";
pub(crate) const PROBE_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Which row is asked for.
#[derive(Clone, Debug)]
pub(crate) enum RowQuestion {
    /// The oldest report of a task, by `get` with `all`.
    Task { method: String, taskhash: String },
    /// The oldest report of an output, by `get-outhash`.
    Outhash {
        method: String,
        outhash: String,
        /// Passed on, but of no influence on the answer, and so no part of what makes questions equal.
        taskhash: String,
    },
}

impl RowQuestion {
    pub(crate) fn task(key: TaskKey<'_>) -> Self {
        RowQuestion::Task { method: key.method.to_owned(), taskhash: key.taskhash.to_owned() }
    }

    pub(crate) fn outhash(key: OuthashKey<'_>, taskhash: &str) -> Self {
        RowQuestion::Outhash {
            method: key.method.to_owned(),
            outhash: key.outhash.to_owned(),
            taskhash: taskhash.to_owned(),
        }
    }

    pub(crate) fn probe() -> Self {
        RowQuestion::outhash(OuthashKey { method: PROBE_METHOD, outhash: PROBE_HASH }, PROBE_HASH)
    }

    /// Whether an upstream takes it: one that refuses a question is not asked any others for a while.
    pub(crate) fn is_sendable(&self) -> bool {
        let (RowQuestion::Task { method, taskhash: one } | RowQuestion::Outhash { method, outhash: one, .. }) =
            self;
        let passed_on = match self {
            RowQuestion::Task { .. } => "",
            RowQuestion::Outhash { taskhash, .. } => taskhash,
        };
        let texts = [method.as_str(), one, passed_on];
        texts.iter().all(|text| !text.contains('\0'))
            && texts.iter().map(|text| text.len()).sum::<usize>() <= MAX_QUERY
    }

    pub(crate) fn to_call(&self) -> Call<'_> {
        match self {
            RowQuestion::Task { method, taskhash } => Call::Get(Task {
                method: method.as_str().into(),
                taskhash: taskhash.as_str().into(),
                all: true,
            }),
            RowQuestion::Outhash { method, outhash, taskhash } => Call::GetOuthash(Output {
                method: method.as_str().into(),
                outhash: outhash.as_str().into(),
                taskhash: taskhash.as_str().into(),
                with_unihash: true,
            }),
        }
    }

    /// Takes a row for the answer. One without a unihash counts as unknown.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`] where the row is not about what was asked: it would be kept under a name that
    /// nobody asked for.
    pub(crate) fn accept(&self, row: Row) -> Result<Option<UnifiedRow>, ClientError> {
        if !self.is_about(&row) {
            return Err(ClientError::Protocol("the row is not about what was asked".to_owned()));
        }
        let Some(unihash) = row.unihash.as_deref().map(Unihash::from_stored) else { return Ok(None) };
        Ok(Some(UnifiedRow { report: outhash_row(row), unihash, gc_mark: String::new() }))
    }

    fn is_about(&self, row: &Row) -> bool {
        match self {
            RowQuestion::Task { method, taskhash } => row.method == *method && row.taskhash == *taskhash,
            RowQuestion::Outhash { method, outhash, .. } => row.method == *method && row.outhash == *outhash,
        }
    }

    fn key(&self) -> (bool, &str, &str) {
        match self {
            RowQuestion::Task { method, taskhash } => (false, method, taskhash),
            RowQuestion::Outhash { method, outhash, .. } => (true, method, outhash),
        }
    }
}

impl PartialEq for RowQuestion {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for RowQuestion {}

impl Hash for RowQuestion {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

fn outhash_row(row: Row) -> OuthashRow {
    OuthashRow {
        id: row.id,
        method: row.method,
        taskhash: row.taskhash,
        outhash: row.outhash,
        created: row.created.as_deref().and_then(Timestamp::parse),
        details: Details {
            owner: row.owner,
            pn: row.pn,
            pv: row.pv,
            pr: row.pr,
            task: row.task,
            outhash_siginfo: row.outhash_siginfo,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(unihash: &str) -> Row {
        serde_json::from_value(serde_json::json!({
            "id": 1, "method": "m", "taskhash": "t", "outhash": "o", "created": "2026-01-31T12:34:56+00:00",
            "owner": null, "PN": "gcc", "PV": null, "PR": null, "task": null, "outhash_siginfo": null,
            "unihash": unihash, "gc_mark": "K",
        }))
        .unwrap()
    }

    fn output(outhash: &str, taskhash: &str) -> RowQuestion {
        RowQuestion::outhash(OuthashKey { method: "m", outhash }, taskhash)
    }

    #[test]
    fn outputs_are_one_question_whichever_task_asks() {
        assert_eq!(output("o", "1"), output("o", "2"));
        assert_ne!(output("o", "1"), output("p", "1"));
        assert_ne!(output("o", "o"), RowQuestion::task(TaskKey { method: "m", taskhash: "o" }));
    }

    #[test]
    fn what_upstreams_refuse_is_not_asked() {
        assert!(output("o", "t").is_sendable());
        assert!(!output("o\0", "t").is_sendable());
        assert!(!output("o", &"t".repeat(MAX_QUERY)).is_sendable());
        assert!(!RowQuestion::task(TaskKey { method: "m", taskhash: "\0" }).is_sendable());
    }

    #[test]
    fn a_row_about_what_was_asked_is_taken() {
        let taken = output("o", "other").accept(row(&"ab".repeat(32))).unwrap().unwrap();
        assert_eq!(taken.unihash.to_string(), "ab".repeat(32));
        assert_eq!(taken.report.details.pn.as_deref(), Some("gcc"));
        assert_eq!(taken.report.created.unwrap().to_string(), "2026-01-31T12:34:56+00:00");
    }

    #[test]
    fn a_row_about_something_else_is_an_error() {
        let row = || row(&"ab".repeat(32));
        assert!(output("p", "t").accept(row()).is_err());
        assert!(RowQuestion::task(TaskKey { method: "m", taskhash: "u" }).accept(row()).is_err());
    }

    #[test]
    fn a_row_without_a_unihash_counts_as_unknown() {
        let row = Row { unihash: None, ..row("") };
        assert_eq!(output("o", "t").accept(row).unwrap(), None);
    }
}
