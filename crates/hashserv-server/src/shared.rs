//! State that all sessions of a server share.

use std::sync::Arc;

use hashserv_log::{RateLimitedError, RateLimitedWarning};
use hashserv_service::Service;
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::large_messages::LargeMessages;
use crate::statistics::Statistics;

/// State that all sessions of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) limits: Limits,
    pub(crate) large_messages: Arc<LargeMessages>,
    /// Errors of requests that failed: all of them do while the database is away.
    pub(crate) failures: Arc<RateLimitedError>,
    /// Warning of stored unihashes that no line of a stream can carry.
    pub(crate) misfits: Arc<RateLimitedWarning>,
    /// Cancelled when the server stops: sessions end once they have answered what has arrived.
    pub(crate) stopping: CancellationToken,
    /// The same for clients whose questions must not be passed on; `None` without an upstream.
    without_upstream: Option<Arc<Shared>>,
}

impl Shared {
    pub(crate) fn new(service: Arc<Service>, limits: Limits) -> Self {
        let shared = Shared {
            service,
            statistics: Arc::default(),
            limits,
            large_messages: Arc::default(),
            failures: Arc::default(),
            misfits: Arc::default(),
            stopping: CancellationToken::new(),
            without_upstream: None,
        };
        if !shared.has_upstream() {
            return shared;
        }
        let without_upstream = Shared {
            service: Arc::new(shared.service.without_upstream()),
            statistics: shared.statistics.clone(),
            limits: shared.limits.clone(),
            large_messages: shared.large_messages.clone(),
            failures: shared.failures.clone(),
            misfits: shared.misfits.clone(),
            stopping: shared.stopping.clone(),
            without_upstream: None,
        };
        Shared { without_upstream: Some(Arc::new(without_upstream)), ..shared }
    }

    /// Returns the state for a client that asks on behalf of these servers.
    pub(crate) fn for_client(self: Arc<Self>, via: &[u64]) -> Arc<Self> {
        match &self.without_upstream {
            Some(without_upstream) if self.service.equivalence().asks_in_circle(via) => {
                without_upstream.clone()
            }
            _ => self,
        }
    }

    /// Reports whether a look-up may have to wait for another server.
    pub(crate) fn has_upstream(&self) -> bool {
        self.service.equivalence().has_upstream()
    }
}
