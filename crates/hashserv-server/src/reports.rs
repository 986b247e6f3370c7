//! Reports that follow each other on a connection are recorded together.

use hashserv_protocol::{Framing, encode_message};
use hashserv_service::{Caller, Service};
use hashserv_storage::Report;

use crate::handlers::report::report;
use crate::refusal::Refused;

/// How many reports are recorded together at most.
const MAX_REPORTS: usize = 256;

/// From this size on, text of what was hashed included, reports wait for no further ones.
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
        self.bytes += report.details.outhash_siginfo.as_ref().map_or(0, String::len);
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
    ) -> Result<usize, Refused> {
        self.bytes = 0;
        let replies = report(service, caller, std::mem::take(&mut self.reports)).await?;
        for reply in &replies {
            encode_message(reply, framing, out)?;
        }
        Ok(replies.len())
    }
}
