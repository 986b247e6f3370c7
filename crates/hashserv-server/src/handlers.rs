//! What each command does: a request in, a value out.

pub(crate) mod lookup;
pub(crate) mod maintenance;
pub(crate) mod report;
pub(crate) mod statistics;
pub(crate) mod users;

use std::time::Duration;

use hashserv_protocol::Request;
use hashserv_service::{Caller, Permissions};
use tokio::sync::watch;

use crate::refusal::Fault;
use crate::server::Shared;

/// A request, who makes it, and what it is about.
pub(crate) struct Exchange<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) caller: &'a mut Caller,
    pub(crate) request: Request<'a>,
    /// How long the answer was held back on purpose, which counts as nobody's time.
    pub(crate) paused: Duration,
    /// Told whether the caller stands in a queue, from which it is taken when it leaves.
    pub(crate) waits_for_turn: Option<&'a watch::Sender<bool>>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        caller: &'a mut Caller,
        request: Request<'a>,
        waits_for_turn: Option<&'a watch::Sender<bool>>,
    ) -> Self {
        Exchange { shared, caller, request, paused: Duration::ZERO, waits_for_turn }
    }

    /// Makes sure that the caller has the permissions.
    async fn require(&mut self, needed: Permissions) -> Result<(), Fault> {
        Ok(self.shared.service.accounts().require(self.caller, needed).await?)
    }
}
