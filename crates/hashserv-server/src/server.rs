//! Accepting connections, and stopping.

use std::sync::Arc;
use std::time::Duration;

use hashserv_service::Service;
use hashserv_transport::{Incoming, Listener};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Limits;
use crate::connection_limit::{Admission, ConnectionLimit};
use crate::fairness::BusyLane;
use crate::handshakes::Handshake;
use crate::session::serve;
use crate::shared::Shared;

/// Time that the service gets at least to write what is still to be written when the server stops.
const MIN_SERVICE_CLOSE_TIME: Duration = Duration::from_secs(1);

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
        let lane = BusyLane::of_runtime();
        let limit = Arc::new(ConnectionLimit::new(&self.shared.limits));
        for listener in listeners {
            let clients = Clients {
                shared: self.shared.clone(),
                sessions: sessions.clone(),
                limit: limit.clone(),
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
        self.shared.service.close(left.max(MIN_SERVICE_CLOSE_TIME)).await;
    }
}

/// The clients of all listeners, and what they need.
struct Clients {
    shared: Arc<Shared>,
    limit: Arc<ConnectionLimit>,
    lane: BusyLane,
    sessions: TaskTracker,
    /// Cancelled when the time for stopping is over.
    cut_off: CancellationToken,
}

impl Clients {
    fn serve(&self, incoming: Incoming, (admission, handshake): (Admission, Handshake)) {
        let (shared, cut_off, lane) = (self.shared.clone(), self.cut_off.clone(), self.lane.clone());
        self.sessions.spawn(async move {
            let address = incoming.peer().ip();
            cut_off.run_until_cancelled(lane.run(address, serve(shared, incoming, handshake))).await;
            drop(admission);
        });
    }
}

/// Accepts connections until the server stops; the listener is closed then.
async fn accept(mut listener: Listener, clients: Clients, stop: CancellationToken) {
    let accepting = async {
        loop {
            // In this order: a listener to which nobody comes must not count as a connection.
            let incoming = listener.accept().await;
            if let Some(admission) = clients.limit.admit(incoming.peer()).await {
                clients.serve(incoming, admission);
            }
        }
    };
    stop.run_until_cancelled(accepting).await;
}
