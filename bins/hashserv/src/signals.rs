//! Signals that stop the server or make it read its certificate again.

use std::future::pending;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::error::StartError;
use crate::tls::{CHECK_INTERVAL, Keeper};

/// Time after the first signal to stop in which further ones are the same request: supervisors signal a process and
/// its group, and terminals do it beside them.
const REPETITION_TIME: Duration = Duration::from_secs(1);

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

    /// Waits for one of them that comes after the time; others before it count for nothing.
    async fn asked_after(&mut self, time: Duration) {
        let begin = Instant::now();
        loop {
            self.asked().await;
            if begin.elapsed() >= time {
                return;
            }
        }
    }
}

/// Lets a write beyond the limit of file sizes (`ulimit -f`, `LimitFSIZE`) fail, in place of ending the process:
/// a database or a log that grew too large is an error as others are.
///
/// A signal that is caught stays so for good, also when nobody waits for it. To ignore it would take unsafe
/// code.
pub(crate) fn survive_the_limit_of_file_sizes() -> Result<(), StartError> {
    catch(SignalKind::from_raw(libc::SIGXFSZ)).map(drop)
}

fn catch(kind: SignalKind) -> Result<Signal, StartError> {
    signal(kind).map_err(|source| StartError::System { what: "catch signals", source })
}

impl Signals {
    /// Begins to catch the signals.
    pub(crate) fn catch() -> Result<Self, StartError> {
        let stopping = Stopping {
            terminate: catch(SignalKind::terminate())?,
            interrupt: catch(SignalKind::interrupt())?,
            quit: catch(SignalKind::quit())?,
        };
        Ok(Signals { stopping, hang_up: catch(SignalKind::hangup())? })
    }

    /// Stops the server on the first signal that asks for it; returns on a second one, which is to end the process at
    /// once.
    pub(crate) async fn handle(mut self, stop: CancellationToken, certificate: Option<Keeper>) {
        let reloading = async {
            match certificate {
                Some(keeper) => keeper.run(self.hang_up, CHECK_INTERVAL).await,
                None => ignore(self.hang_up).await,
            }
            // Only a signal ends the server.
            pending::<()>().await;
        };
        tokio::select! {
            () = self.stopping.asked() => {}
            () = reloading => {}
        }
        info!("stopping");
        stop.cancel();
        self.stopping.asked_after(REPETITION_TIME).await;
    }
}

async fn ignore(mut hang_up: Signal) {
    while hang_up.recv().await.is_some() {
        info!("SIGHUP ignored: no certificate is in use");
    }
}
