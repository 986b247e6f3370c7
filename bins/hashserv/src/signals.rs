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
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
}

impl Signals {
    /// Begins to catch the signals.
    pub(crate) fn catch() -> Result<Self, StartError> {
        let catch =
            |kind| signal(kind).map_err(|source| StartError::System { what: "catch signals", source });
        Ok(Signals {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
            hang_up: catch(SignalKind::hangup())?,
        })
    }

    /// Stops the server on the first signal that asks for it. A second one ends the process at once.
    pub(crate) async fn handle(mut self, stop: CancellationToken, tls: Option<Arc<ServerTls>>) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
                _ = self.quit.recv() => break,
                _ = self.hang_up.recv() => reload(tls.as_deref()),
            }
        }
        info!("stopping");
        stop.cancel();
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
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
