//! Look-ups that follow each other on a connection wait for the upstream together.
//!
//! A server that has this one for its upstream asks the rows of all its clients over one connection. One
//! after the other, each would wait for a round trip of ours.

use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};
use hashserv_protocol::{Framing, Request};
use hashserv_service::{Caller, Permissions};
use tokio_util::task::AbortOnDropHandle;

use crate::dispatch::dispatch;
use crate::handlers::Exchange;
use crate::refusal::{Failed, Fault};
use crate::server::Shared;
use crate::session::{End, Session};

/// How many look-ups wait for the upstream at a time. Their replies, whole rows, wait for each other.
const MAX_AT_A_TIME: usize = 16;

/// How many look-ups are gathered at most before they are answered.
const MAX_LOOKUPS: usize = 256;

/// From this size on look-ups wait for no further ones.
const MAX_BYTES: usize = 64 * 1024;

/// Look-ups of one connection that were read and not answered yet, as they came.
#[derive(Debug, Default)]
pub(crate) struct PendingLookups {
    texts: Vec<String>,
    bytes: usize,
}

impl PendingLookups {
    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        self.texts.push(text.to_owned());
    }

    fn is_full(&self) -> bool {
        self.texts.len() >= MAX_LOOKUPS || self.bytes >= MAX_BYTES
    }
}

impl Session {
    /// Takes a look-up. It is answered as soon as no further one is at hand.
    pub(super) async fn take_lookup(&mut self, text: &str) -> Result<(), End> {
        self.lookups.add(text);
        if self.lookups.is_full() { self.answer_lookups().await } else { Ok(()) }
    }

    /// Answers the look-ups that were taken, in order.
    pub(super) async fn answer_lookups(&mut self) -> Result<(), End> {
        if self.lookups.texts.is_empty() {
            return Ok(());
        }
        self.send().await?;
        let started = Instant::now();
        let PendingLookups { texts, .. } = std::mem::take(&mut self.lookups);
        // Should accounts have changed, the caller's is read again once, and not for each look-up.
        self.require(Permissions::READ).await?;
        let count = texts.len();
        let (shared, caller, framing) = (self.shared.clone(), self.caller.clone(), self.connection.framing());
        // Tasks of their own, so that they hold up nobody while this client does not read.
        let mut answers = stream::iter(texts)
            .map(|text| tokio::spawn(answer(shared.clone(), caller.clone(), text, framing)))
            .map(AbortOnDropHandle::new)
            .buffered(MAX_AT_A_TIME);
        while let Some(answer) = answers.next().await {
            self.out.append(&mut answer.map_err(Failed::from)??);
            self.send_if_many().await?;
        }
        self.shared.statistics.record(count, started.elapsed());
        Ok(())
    }
}

async fn answer(
    shared: Arc<Shared>,
    mut caller: Caller,
    text: String,
    framing: Framing,
) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    if let Some(request) = Request::parse(&text)? {
        let mut exchange = Exchange::new(&shared, &mut caller, request, None);
        dispatch(&mut exchange, framing, &mut out).await?;
    }
    Ok(out)
}
