//! Settings and state that the lanes of an upstream share.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hashserv_client::ClientOptions;
use hashserv_protocol::Address;
use hashserv_service::LateAnswers;
use hashserv_transport::Dialer;
use tokio_util::sync::CancellationToken;

use crate::breaker::Breaker;
use crate::route::Route;

/// Settings and state that all lanes of an upstream share.
#[derive(Debug)]
pub(crate) struct LaneContext {
    pub(crate) dialer: Arc<Dialer>,
    pub(crate) address: Address,
    /// Open while the upstream fails as a whole.
    pub(crate) breaker: Breaker,
    pub(crate) client: ClientOptions,
    /// How long whoever asks waits, and how long nothing may arrive while questions wait.
    pub(crate) timeout: Duration,
    /// Which servers ask whom.
    pub(crate) route: Route,
    /// Takes what comes when nobody waits for it any more.
    pub(crate) late: OnceLock<Arc<dyn LateAnswers>>,
    pub(crate) closing: CancellationToken,
}

impl LaneContext {
    pub(crate) fn late(&self) -> Option<&dyn LateAnswers> {
        self.late.get().map(Arc::as_ref)
    }
}
