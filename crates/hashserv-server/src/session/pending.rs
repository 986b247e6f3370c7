//! Reports and look-ups that follow each other on a connection are answered together.
//!
//! Reports would otherwise wait for one commit each. Look-ups are gathered where there is an upstream: a server that
//! has this one for its upstream asks the rows of all its clients over one connection, and one after the other,
//! each would wait for a round trip of ours.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::stream::{self, StreamExt as _};
use hashserv_protocol::reply::Reply;
use hashserv_protocol::{Access, OwnedRequest};
use hashserv_service::Caller;
use hashserv_storage::{Details, Report};
use tokio_util::task::AbortOnDropHandle;

use super::conversation::Conversation;
use super::deadline::Deadline;
use super::end::End;
use crate::commands::exchange::Exchange;
use crate::commands::report::record_reports;
use crate::commands::{Handler, answer};
use crate::refusal::{Failed, Fault};
use crate::shared::Shared;

/// Number of reports that are recorded together at most.
const MAX_REPORTS: usize = 256;

/// Size of all text of reports, in bytes, from which on they wait for no further ones.
const MAX_REPORT_BYTES: usize = 1024 * 1024;

/// Number of look-ups that are gathered at most before they are answered.
const MAX_LOOKUPS: usize = 256;

/// Size of the arguments of look-ups, in bytes, from which on they wait for no further ones.
const MAX_LOOKUP_BYTES: usize = 64 * 1024;

/// Number of look-ups that wait for the upstream at a time. Their replies, whole rows, wait for each other.
const MAX_CONCURRENT_LOOKUPS: usize = 16;

/// Requests of one connection that were read and not answered yet. Those of one kind follow each other.
#[derive(Debug)]
pub(super) struct Pending {
    reports: Gathered<Report>,
    /// Deadline for the first of the reports; none where there is none.
    report_deadline: Option<Deadline>,
    lookups: Gathered<Lookup>,
}

/// A look-up and its handler.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) request: OwnedRequest,
    pub(super) handler: Handler,
}

/// Requests of one kind, bounded in number and size.
#[derive(Debug)]
struct Gathered<T> {
    items: Vec<T>,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
}

impl<T> Gathered<T> {
    fn new(max_items: usize, max_bytes: usize) -> Self {
        Gathered { items: Vec::new(), bytes: 0, max_items, max_bytes }
    }

    fn add(&mut self, item: T, bytes: usize) {
        self.bytes += bytes;
        self.items.push(item);
    }

    /// Reports whether further requests must wait until these are answered.
    fn is_full(&self) -> bool {
        self.items.len() >= self.max_items || self.bytes >= self.max_bytes
    }

    fn take(&mut self) -> Vec<T> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

impl Pending {
    pub(super) fn new() -> Self {
        Pending {
            reports: Gathered::new(MAX_REPORTS, MAX_REPORT_BYTES),
            report_deadline: None,
            lookups: Gathered::new(MAX_LOOKUPS, MAX_LOOKUP_BYTES),
        }
    }

    /// Returns the deadline for a report: that of the first that it is recorded with, or else its own.
    pub(super) fn report_deadline(&mut self, own: Deadline) -> Deadline {
        *self.report_deadline.get_or_insert(own)
    }

    /// Adds a report. It is recorded as soon as no further one is at hand.
    pub(super) async fn add_report(
        &mut self,
        report: Report,
        conversation: &mut Conversation,
    ) -> Result<(), End> {
        let bytes = text_bytes(&report);
        self.reports.add(report, bytes);
        if self.reports.is_full() {
            self.record_reports(conversation).await?;
            conversation.outbox.send_if_many().await?;
        }
        Ok(())
    }

    /// Adds a look-up. It is answered as soon as no further one is at hand.
    pub(super) async fn add_lookup(
        &mut self,
        lookup: Lookup,
        conversation: &mut Conversation,
    ) -> Result<(), End> {
        let bytes = lookup.request.size();
        self.lookups.add(lookup, bytes);
        if self.lookups.is_full() { self.answer_lookups(conversation).await } else { Ok(()) }
    }

    /// Answers all that were added.
    pub(super) async fn settle(&mut self, conversation: &mut Conversation) -> Result<(), End> {
        self.record_reports(conversation).await?;
        self.answer_lookups(conversation).await
    }

    /// Records the reports that were added, and answers them in order.
    pub(super) async fn record_reports(&mut self, conversation: &mut Conversation) -> Result<(), End> {
        let deadline = self.report_deadline.take();
        if self.reports.items.is_empty() {
            return Ok(());
        }
        let deadline = deadline.unwrap_or_else(Deadline::starting_now);
        let started = Instant::now();
        let Conversation { shared, outbox, caller, .. } = conversation;
        let recorded = deadline.keep(record_reports(&shared.service, caller, self.reports.take())).await?;
        let count = recorded.len();
        for reply in recorded {
            outbox.reply(&reply.into())?;
        }
        shared.statistics.record(count, started.elapsed());
        Ok(())
    }

    /// Answers the look-ups that were added, in order.
    pub(super) async fn answer_lookups(&mut self, conversation: &mut Conversation) -> Result<(), End> {
        if self.lookups.items.is_empty() {
            return Ok(());
        }
        conversation.outbox.send().await?;
        let started = Instant::now();
        let deadline = Deadline::starting_now();
        let lookups = self.lookups.take();
        // Should accounts have changed, the caller's is read again once, and not for each look-up.
        deadline.keep(conversation.require(Access::Read)).await?;
        let mut deadline = Some(deadline);
        let Conversation { shared, outbox, caller, .. } = conversation;
        let count = lookups.len();
        // Tasks of their own, so that they hold up nobody while this client does not read.
        let mut replies = stream::iter(lookups)
            .map(|lookup| tokio::spawn(look_up(shared.clone(), caller.clone(), lookup)))
            .map(AbortOnDropHandle::new)
            .buffered(MAX_CONCURRENT_LOOKUPS);
        loop {
            let ready = replies.next().now_or_never();
            let next = match ready {
                Some(next) => next,
                None => {
                    // All of them may take longer than one may: the client sees that it is served.
                    outbox.send().await?;
                    let deadline = deadline.take().unwrap_or_else(Deadline::starting_now);
                    deadline.keep(async { Ok::<_, End>(replies.next().await) }).await?
                }
            };
            let Some(reply) = next else { break };
            outbox.reply(&reply.map_err(Failed::from)??)?;
            outbox.send_if_many().await?;
        }
        shared.statistics.record(count, started.elapsed());
        Ok(())
    }
}

async fn look_up(shared: Arc<Shared>, mut caller: Caller, lookup: Lookup) -> Result<Reply, Fault> {
    let mut exchange = Exchange::new(&shared, &mut caller, lookup.request.as_request(), None);
    answer(&mut exchange, lookup.handler).await
}

/// Returns the size of all text of a report, in bytes.
fn text_bytes(report: &Report) -> usize {
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
        let text = || "x".repeat(MAX_REPORT_BYTES / 256);
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
        let mut pending = Pending::new().reports;
        let needed = 256usize.div_ceil(9);
        for _ in 1..needed {
            pending.add(report.clone(), text_bytes(&report));
        }
        assert!(!pending.is_full());
        pending.add(report.clone(), text_bytes(&report));
        assert!(pending.is_full());
    }
}
