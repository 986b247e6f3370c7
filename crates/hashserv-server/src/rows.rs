//! Stored rows as replies.

use hashserv_protocol::reply::{Row, TaskUnihash};
use hashserv_storage::{OuthashRow, TaskKey, UnifiedRow, Unihash};

/// A report alone.
pub(crate) fn outhash_row(row: OuthashRow) -> Row {
    Row {
        id: row.id,
        method: row.method,
        taskhash: row.taskhash,
        outhash: row.outhash,
        created: row.created.map(|created| created.to_string()),
        owner: row.details.owner,
        pn: row.details.pn,
        pv: row.details.pv,
        pr: row.details.pr,
        task: row.details.task,
        outhash_siginfo: row.details.outhash_siginfo,
        unihash: None,
        gc_mark: None,
    }
}

/// A report with the unihash of its task.
pub(crate) fn unified_row(row: UnifiedRow) -> Row {
    Row { unihash: Some(row.unihash.to_string()), gc_mark: Some(row.gc_mark), ..outhash_row(row.report) }
}

/// A task and its unihash.
pub(crate) fn task_unihash(key: TaskKey<'_>, unihash: &Unihash) -> TaskUnihash {
    TaskUnihash {
        taskhash: key.taskhash.to_owned(),
        method: key.method.to_owned(),
        unihash: unihash.to_string(),
    }
}
