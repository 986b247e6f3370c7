//! Accepting connections, and stopping.

use std::sync::Arc;
use std::time::Duration;

use hashserv_log::RateLimitedWarning;
use hashserv_service::Service;
use hashserv_transport::{Incoming, Listener};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Limits;
use crate::fairness::Lane;
use crate::places::{Place, Places};
use crate::session::serve;
use crate::statistics::Statistics;

/// How long the service is given at least to write what is still to be written when the server stops.
const MIN_CLOSING: Duration = Duration::from_secs(1);

/// A hash equivalence server.
///
/// ```no_run
/// use std::sync::Arc;
///
/// use hashserv_server::{Limits, Server};
/// use hashserv_service::Service;
/// use hashserv_transport::Listener;
/// use tokio_util::sync::CancellationToken;
///
/// # async fn example(service: Service, listeners: Vec<Listener>) {
/// let stop = CancellationToken::new();
/// let server = Server::new(Arc::new(service), Limits::default());
/// // Serves until somebody calls `stop.cancel()`.
/// server.run(listeners, stop).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all sessions of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) service: Arc<Service>,
    pub(crate) statistics: Arc<Statistics>,
    pub(crate) limits: Limits,
    /// Stored unihashes that no line of a stream can carry.
    pub(crate) misfits: Arc<RateLimitedWarning>,
    /// Cancelled when the server stops: sessions end once they have answered what has arrived.
    pub(crate) stopping: CancellationToken,
    /// The same for clients whose questions must not be passed on; `None` where there is no upstream.
    without_upstream: Option<Arc<Shared>>,
}

impl Shared {
    fn new(service: Arc<Service>, limits: Limits) -> Self {
        let shared = Shared {
            service,
            statistics: Arc::default(),
            limits,
            misfits: Arc::default(),
            stopping: CancellationToken::new(),
            without_upstream: None,
        };
        if !shared.service.equivalence().has_upstream() {
            return shared;
        }
        let without_upstream = Shared {
            service: Arc::new(shared.service.without_upstream()),
            statistics: shared.statistics.clone(),
            limits: shared.limits.clone(),
            misfits: shared.misfits.clone(),
            stopping: shared.stopping.clone(),
            without_upstream: None,
        };
        Shared { without_upstream: Some(Arc::new(without_upstream)), ..shared }
    }

    /// Returns what a client is served from that asks on behalf of these servers.
    pub(crate) fn for_client(self: Arc<Self>, via: &[u64]) -> Arc<Self> {
        match &self.without_upstream {
            Some(without_upstream) if self.service.equivalence().asks_in_circle(via) => {
                without_upstream.clone()
            }
            _ => self,
        }
    }
}

impl Server {
    /// A server of the service.
    #[must_use]
    pub fn new(service: Arc<Service>, limits: Limits) -> Self {
        Server { shared: Arc::new(Shared::new(service, limits)) }
    }

    /// Serves the listeners until `stop` is cancelled; then closes them, has running requests finished, and
    /// closes the service. From then on it takes no longer than [`Limits::shutdown`] and a second.
    ///
    /// It must run to its end: dropped before, it leaves sessions running.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) {
        let sessions = TaskTracker::new();
        let acceptors = TaskTracker::new();
        let cut_off = CancellationToken::new();
        let lane = Lane::of_runtime();
        let places = Arc::new(Places::new(&self.shared.limits));
        for listener in listeners {
            let clients = Clients {
                shared: self.shared.clone(),
                sessions: sessions.clone(),
                places: places.clone(),
                lane: lane.clone(),
                cut_off: cut_off.clone(),
            };
            acceptors.spawn(accept(listener, clients, stop.clone()));
        }
        acceptors.close();
        acceptors.wait().await;
        stop.cancelled().await;
        self.shut_down(sessions, cut_off).await;
    }

    async fn shut_down(self, sessions: TaskTracker, cut_off: CancellationToken) {
        let deadline = Instant::now() + self.shared.limits.shutdown;
        sessions.close();
        if !sessions.is_empty() {
            info!("stopping; {} clients are connected", sessions.len());
        }
        self.shared.stopping.cancel();
        if timeout_at(deadline, sessions.wait()).await.is_err() {
            warn!("{} clients were cut off: their requests took too long to finish", sessions.len());
            cut_off.cancel();
            sessions.wait().await;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.service.close(left.max(MIN_CLOSING)).await;
    }
}

/// What every listener hands its clients to.
struct Clients {
    shared: Arc<Shared>,
    places: Arc<Places>,
    lane: Lane,
    sessions: TaskTracker,
    /// Cancelled when the time for stopping is over.
    cut_off: CancellationToken,
}

impl Clients {
    fn serve(&self, incoming: Incoming, place: Place) {
        let (shared, cut_off, lane) = (self.shared.clone(), self.cut_off.clone(), self.lane.clone());
        self.sessions.spawn(async move {
            cut_off.run_until_cancelled(lane.run(serve(shared, incoming))).await;
            drop(place);
        });
    }
}

/// Accepts connections until the server stops; the listener is closed then.
async fn accept(mut listener: Listener, clients: Clients, stop: CancellationToken) {
    let accepting = async {
        loop {
            // In this order: a listener to which nobody comes must not hold a place.
            let incoming = listener.accept().await;
            let place = clients.places.take(incoming.peer()).await;
            if let Some(place) = place {
                clients.serve(incoming, place);
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}
