//! One connection from its handshake to its end.

use std::sync::Arc;

use hashserv_log::{one_line, printable};
use hashserv_protocol::{HandshakeReader, Hello, MAX_LINE, MessageReader, Progress, encode_message};
use hashserv_service::Caller;
use hashserv_transport::{Connection, Incoming, TransportError};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, error, info};

use crate::fairness::Turn;
use crate::normal::ahead::PendingLookups;
use crate::refusal::{Failed, Fault, Refused};
use crate::reports::PendingReports;
use crate::server::Shared;

/// Replies are sent at the latest when this many bytes of them have gathered.
const SEND_SIZE: usize = 64 * 1024;

/// What an idle connection keeps for replies: enough for a look-up. Thousands of connections are idle.
const IDLE_SIZE: usize = 512;

/// How many bytes of replies a client has the time of [`Limits::stalled_write`](crate::Limits::stalled_write) for.
const STALL_SIZE: usize = 1024 * 1024;

/// A connection whose handshake is complete.
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    pub(crate) connection: Connection,
    pub(crate) messages: MessageReader,
    pub(crate) caller: Caller,
    pub(crate) reports: PendingReports,
    pub(crate) lookups: PendingLookups,
    /// Replies that are not sent yet.
    pub(crate) out: Vec<u8>,
    pub(crate) turn: Turn,
}

/// Why a session ends.
#[derive(Debug)]
pub(crate) enum End {
    /// The client is gone, or said so, or the server stops and nothing is left to answer.
    Quiet,
    /// A request is refused; the client is told why.
    Refused(Refused),
    /// The same where the client must not be told: it would take any line for a reply.
    RefusedInSilence(Refused),
    /// The server is not well: the client is told nothing.
    Failed(Failed),
    /// The connection failed.
    Disconnected(TransportError),
    /// The client does not read its replies.
    Stalled,
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        End::Refused(refused)
    }
}

impl From<Failed> for End {
    fn from(failed: Failed) -> Self {
        End::Failed(failed)
    }
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(refused) => refused.into(),
            Fault::Failed(failed) => failed.into(),
        }
    }
}

impl From<TransportError> for End {
    fn from(error: TransportError) -> Self {
        End::Disconnected(error)
    }
}

/// Serves an accepted connection until it ends.
pub(crate) async fn serve(shared: Arc<Shared>, incoming: Incoming) {
    let peer = incoming.peer().clone();
    info!("{peer} has connected");
    let opening = async {
        let mut connection = incoming.establish().await.map_err(|error| one_line(&error))?;
        match handshake(&mut connection).await {
            Ok(hello) => Ok((connection, hello)),
            Err(reason) => {
                // In good order: to drop TLS or a WebSocket looks like a broken network.
                connection.close().await;
                Err(reason)
            }
        }
    };
    let opened = tokio::select! {
        opened = timeout(shared.limits.handshake, opening) => opened,
        () = shared.stopping.cancelled() => return,
    };
    match opened {
        Ok(Ok((connection, hello))) => {
            let session = Session::new(shared.for_client(&hello.via), connection, hello);
            session.run().await;
        }
        Ok(Err(reason)) => info!("{peer} is turned away: {}", printable(&reason)),
        Err(_) => info!("{peer} is turned away: the handshake took too long"),
    }
}

/// Reads the handshake. A client that is refused is told nothing, as BitBake's server does.
async fn handshake(connection: &mut Connection) -> Result<Hello, String> {
    let mut reader = HandshakeReader::default();
    loop {
        let Some(line) = connection.lines().next_line().map_err(|error| error.to_string())? else {
            if connection.receive().await.map_err(|error| one_line(&error))? {
                continue;
            }
            return Err("it closed the connection before the handshake was complete".to_owned());
        };
        let line = std::str::from_utf8(line).map_err(|_| "the handshake is not UTF-8".to_owned())?;
        if let Progress::Done(hello) = reader.line(line).map_err(|error| error.to_string())? {
            return Ok(hello);
        }
    }
}

impl Session {
    fn new(shared: Arc<Shared>, connection: Connection, hello: Hello) -> Self {
        // The server's headers, which are none, and the empty line that ends them.
        let out = if hello.needs_headers { b"\n".to_vec() } else { Vec::new() };
        Session {
            messages: MessageReader::new(connection.framing(), shared.limits.message),
            caller: Caller::anonymous(),
            reports: PendingReports::default(),
            lookups: PendingLookups::default(),
            shared,
            connection,
            out,
            turn: Turn::default(),
        }
    }

    async fn run(mut self) {
        let end = self.normal_mode().await;
        let peer = self.connection.peer().clone();
        let user = self.caller.user_name().map(|name| format!(" (user {name:?})")).unwrap_or_default();
        match end {
            End::Quiet => {
                debug!("{peer}{user} is gone");
                self.connection.close().await;
            }
            End::Refused(refused) => {
                info!("{peer}{user} is refused: {}", printable(refused.message()));
                self.refuse(&refused).await;
            }
            End::RefusedInSilence(refused) => {
                info!("{peer}{user} is refused without a reply: {}", printable(refused.message()));
                self.connection.close().await;
            }
            End::Failed(failed) => {
                error!("a request of {peer}{user} failed: {}", failed.cause());
                self.connection.close().await;
            }
            End::Disconnected(error) => {
                info!("{peer}{user} is gone: {}", one_line(&error));
                // It may have been told why, and shall get to read it.
                self.connection.close().await;
            }
            End::Stalled => info!("{peer}{user} is cut off: it does not read its replies"),
        }
    }

    /// Tells the client what is refused, after all that was answered before.
    async fn refuse(mut self, refused: &Refused) {
        if encode_message(&refused.to_reply(), self.connection.framing(), &mut self.out).is_ok()
            && self.send().await.is_ok()
        {
            self.connection.close().await;
        }
    }

    /// Sends the replies that have gathered, then waits until more has arrived.
    ///
    /// It ends the session when the client is gone or, with nothing left to answer, when the server stops.
    pub(crate) async fn send_and_receive(&mut self) -> Result<(), End> {
        self.send().await?;
        tokio::select! {
            received = self.connection.receive() => match received? {
                true => Ok(()),
                false => Err(End::Quiet),
            },
            () = self.shared.stopping.cancelled() => Err(End::Quiet),
        }
    }

    /// Returns once the client is gone and stands in a queue. What it sends meanwhile stays in the buffer, which is
    /// bounded. A client that only closes its own side, and waits for nothing but a reply, still gets it.
    pub(crate) async fn until_left(connection: &mut Connection, mut waits: watch::Receiver<bool>) -> End {
        let end = loop {
            if connection.lines().len() >= MAX_LINE {
                // It is not read from any further, so its end cannot be noticed.
                std::future::pending::<()>().await;
            }
            match connection.receive().await {
                Ok(true) => {}
                Ok(false) => break End::Quiet,
                Err(error) => break error.into(),
            }
        };
        // Of a request that is done nobody waits for this.
        let is_waiting = waits.wait_for(|waits| *waits).await.is_ok();
        if is_waiting { end } else { std::future::pending().await }
    }

    /// Sends the replies if many have gathered.
    pub(crate) async fn send_if_many(&mut self) -> Result<(), End> {
        if self.out.len() >= SEND_SIZE { self.send().await } else { Ok(()) }
    }

    /// Sends the replies that have gathered.
    pub(crate) async fn send(&mut self) -> Result<(), End> {
        if self.out.is_empty() {
            return Ok(());
        }
        let pieces = u32::try_from(self.out.len().div_ceil(STALL_SIZE)).unwrap_or(u32::MAX);
        let limit = self.shared.limits.stalled_write.saturating_mul(pieces);
        match timeout(limit, self.connection.send(&self.out)).await {
            Ok(sent) => sent?,
            Err(_) => return Err(End::Stalled),
        }
        self.out.clear();
        self.out.shrink_to(IDLE_SIZE);
        Ok(())
    }
}
