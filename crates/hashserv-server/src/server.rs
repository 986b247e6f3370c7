//! Accepting connections, and stopping.

use std::sync::Arc;
use std::time::Duration;

use hashserv_service::Service;
use hashserv_transport::Listener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::Limits;
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
    pub(crate) statistics: Statistics,
    pub(crate) limits: Limits,
    /// Cancelled when the server stops: sessions end once they have answered what has arrived.
    pub(crate) stopping: CancellationToken,
}

impl Server {
    /// A server of the service.
    #[must_use]
    pub fn new(service: Arc<Service>, limits: Limits) -> Self {
        let stopping = CancellationToken::new();
        Server { shared: Arc::new(Shared { service, statistics: Statistics::default(), limits, stopping }) }
    }

    /// Serves the listeners until `stop` is cancelled; then closes them, has running requests finished, and
    /// closes the service. From then on it takes no longer than [`Limits::shutdown`] and a second.
    ///
    /// It must run to its end: dropped before, it leaves sessions running.
    pub async fn run(self, listeners: Vec<Listener>, stop: CancellationToken) {
        let sessions = TaskTracker::new();
        let acceptors = TaskTracker::new();
        let places = Arc::new(Semaphore::new(self.shared.limits.connections));
        for listener in listeners {
            acceptors.spawn(accept(
                self.shared.clone(),
                listener,
                sessions.clone(),
                places.clone(),
                stop.clone(),
            ));
        }
        acceptors.close();
        acceptors.wait().await;
        stop.cancelled().await;
        self.shut_down(sessions).await;
    }

    async fn shut_down(self, sessions: TaskTracker) {
        let deadline = Instant::now() + self.shared.limits.shutdown;
        sessions.close();
        if !sessions.is_empty() {
            info!("stopping; {} clients are connected", sessions.len());
        }
        self.shared.stopping.cancel();
        if timeout_at(deadline, sessions.wait()).await.is_err() {
            warn!("{} clients were cut off: their requests took too long to finish", sessions.len());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.shared.service.close(left.max(MIN_CLOSING)).await;
    }
}

/// Accepts connections until the server stops; the listener is closed then.
async fn accept(
    shared: Arc<Shared>,
    mut listener: Listener,
    sessions: TaskTracker,
    places: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let accepted = async {
            let place = take_place(&shared, &places).await?;
            Some((place, listener.accept().await))
        };
        let (place, incoming) = tokio::select! {
            accepted = accepted => match accepted {
                Some(accepted) => accepted,
                None => return,
            },
            () = stop.cancelled() => return,
        };
        let shared = shared.clone();
        sessions.spawn(async move {
            serve(shared, incoming).await;
            drop(place);
        });
    }
}

/// Waits until a further connection may be opened. Until then clients wait in the system's queue.
async fn take_place(shared: &Shared, places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    if let Ok(place) = places.clone().try_acquire_owned() {
        return Some(place);
    }
    warn!("{} clients are connected, which is the limit; further ones wait", shared.limits.connections);
    let place = places.clone().acquire_owned().await.ok()?;
    info!("clients are accepted again");
    Some(place)
}
