//! A request on its way through a handler.

use std::time::Duration;

use hashserv_protocol::Request;
use hashserv_service::Caller;
use tokio::sync::watch;

use crate::shared::Shared;

/// A request, its caller, and what the handler reports back besides the reply.
pub(crate) struct Exchange<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) caller: &'a mut Caller,
    pub(crate) request: Request<'a>,
    /// Time for which the answer was held back on purpose. It does not count as time of the request.
    pub(crate) paused: Duration,
    /// Set while the caller stands in a queue, from which it is removed when its connection ends.
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
}
