//! Signals that stop the server or make it read its certificate again.

use std::sync::Arc;

use hashserv_server::one_line;
use hashserv_transport::ServerTls;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::error::StartError;

/// The signals, caught from their making on.
pub(crate) struct Signals {
    /// Those that ask the server to stop.
    pub(crate) stopping: Stopping,
    hang_up: Signal,
}

/// The signals that ask the server to stop.
pub(crate) struct Stopping {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Stopping {
    /// Waits for one of them.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

impl Signals {
    /// Begins to catch the signals.
    pub(crate) fn catch() -> Result<Self, StartError> {
        let catch =
            |kind| signal(kind).map_err(|source| StartError::System { what: "catch signals", source });
        // A limit for the size of files is to fail the write, not to end the process; caught once, it stays caught.
        let _ = catch(SignalKind::from_raw(libc::SIGXFSZ))?;
        let stopping = Stopping {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
        };
        Ok(Signals { stopping, hang_up: catch(SignalKind::hangup())? })
    }

    /// Stops the server on the first signal that asks for it. A second one ends the process at once.
    pub(crate) async fn handle(mut self, stop: CancellationToken, tls: Option<Arc<ServerTls>>) {
        let mut hang_up = self.hang_up;
        let reloading = async {
            while hang_up.recv().await.is_some() {
                reload(tls.as_deref());
            }
        };
        tokio::select! {
            () = self.stopping.asked() => {}
            () = reloading => {}
        }
        info!("stopping");
        stop.cancel();
        self.stopping.asked().await;
        error!("stopped at once by a second signal; requests may be left unanswered");
        std::process::exit(1);
    }
}

fn reload(tls: Option<&ServerTls>) {
    match tls.map(ServerTls::reload) {
        None => info!("nothing to read again: no certificate is in use"),
        Some(Ok(())) => info!("the certificate was read again"),
        Some(Err(error)) => error!("the certificate in use is kept: {}", one_line(&error)),
    }
}
