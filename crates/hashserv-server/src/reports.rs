//! Reports that follow each other on a connection are recorded together.

use hashserv_protocol::{Framing, encode_message};
use hashserv_service::{Caller, Service};
use hashserv_storage::{Details, Report};

use crate::handlers::report::report;
use crate::refusal::Fault;

/// How many reports are recorded together at most.
const MAX_REPORTS: usize = 256;

/// From this size on, all text counted, reports wait for no further ones.
const MAX_BYTES: usize = 1024 * 1024;

/// Reports of one connection that were read and not recorded yet.
///
/// A client that pipelines reports would otherwise wait for one commit each.
#[derive(Debug, Default)]
pub(crate) struct PendingReports {
    reports: Vec<Report>,
    bytes: usize,
}

impl PendingReports {
    /// Adds a report.
    pub(crate) fn add(&mut self, report: Report) {
        self.bytes += text_size(&report);
        self.reports.push(report);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reports.is_empty()
    }

    /// Whether further reports must wait until these are recorded.
    pub(crate) fn is_full(&self) -> bool {
        self.reports.len() >= MAX_REPORTS || self.bytes >= MAX_BYTES
    }

    /// Records the reports and appends their replies to `out`; tells how many there were.
    pub(crate) async fn record(
        &mut self,
        service: &Service,
        caller: &mut Caller,
        framing: Framing,
        out: &mut Vec<u8>,
    ) -> Result<usize, Fault> {
        self.bytes = 0;
        let replies = report(service, caller, std::mem::take(&mut self.reports)).await?;
        for reply in &replies {
            encode_message(reply, framing, out)?;
        }
        Ok(replies.len())
    }
}

/// The size of all text of a report, in bytes.
fn text_size(report: &Report) -> usize {
    let Report { method, taskhash, outhash, details, .. } = report;
    let Details { owner, pn, pv, pr, task, outhash_siginfo } = details;
    let optional = [owner, pn, pv, pr, task, outhash_siginfo];
    let optional: usize = optional.into_iter().flatten().map(String::len).sum();
    method.len() + taskhash.len() + outhash.len() + optional
}

#[cfg(test)]
mod tests {
    use hashserv_storage::{Timestamp, Unihash};

    use super::*;

    #[test]
    fn all_text_of_pending_reports_counts() {
        let text = || "x".repeat(MAX_BYTES / 256);
        let some = || Some(text());
        let details = Details {
            owner: some(),
            pn: some(),
            pv: some(),
            pr: some(),
            task: some(),
            outhash_siginfo: some(),
        };
        let report = Report {
            method: text(),
            taskhash: text(),
            outhash: text(),
            unihash: Unihash::from([1; 32]),
            created: Timestamp::now(),
            details,
        };
        let mut pending = PendingReports::default();
        let needed = 256usize.div_ceil(9);
        for _ in 1..needed {
            pending.add(report.clone());
        }
        assert!(!pending.is_full());
        pending.add(report);
        assert!(pending.is_full());
    }
}
