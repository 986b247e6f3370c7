//! Answers that are to be kept.

use hashserv_storage::{Report, TaskKey, Unihash, UnihashEntry};
use tokio::sync::oneshot;

/// Bytes that an answer counts for besides its texts.
const ITEM_OVERHEAD: usize = 128;

/// An answer of the upstream that is to be kept.
#[derive(Debug)]
pub(crate) struct Item {
    pub(super) entry: UnihashEntry,
    /// The report that came with the unihash, where a whole row was asked for.
    pub(super) report: Option<Report>,
    /// Told once the answer is written.
    written: Option<oneshot::Sender<()>>,
}

impl Item {
    /// The unihash of a task.
    pub(crate) fn unihash(key: TaskKey<'_>, unihash: Unihash) -> Self {
        let entry =
            UnihashEntry { method: key.method.to_owned(), taskhash: key.taskhash.to_owned(), unihash };
        Item { entry, report: None, written: None }
    }

    /// A report and the unihash of its task.
    pub(crate) fn row(report: Report) -> Self {
        let Item { entry, .. } = Item::unihash(report.task_key(), report.unihash.clone());
        Item { entry, report: Some(report), written: None }
    }

    /// The same, with somebody to tell once it is written.
    pub(super) fn telling(self, written: oneshot::Sender<()>) -> Self {
        Item { written: Some(written), ..self }
    }

    /// Tells whoever waits that the answer is written.
    pub(super) fn tell(self) {
        if let Some(written) = self.written {
            // Whoever waited may have gone.
            let _ = written.send(());
        }
    }

    /// Bytes of memory, roughly.
    pub(super) fn bytes(&self) -> u64 {
        let UnihashEntry { method, taskhash, .. } = &self.entry;
        let report = self.report.as_ref().map_or(0, report_bytes);
        (ITEM_OVERHEAD + method.len() + taskhash.len() + report) as u64
    }
}

fn report_bytes(report: &Report) -> usize {
    let details = &report.details;
    let details =
        [&details.owner, &details.pn, &details.pv, &details.pr, &details.task, &details.outhash_siginfo];
    let details: usize = details.into_iter().flatten().map(String::len).sum();
    details + report.method.len() + report.taskhash.len() + report.outhash.len()
}
