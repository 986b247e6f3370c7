//! One connection from its handshake to its end.

mod conversation;
mod deadline;
mod end;
mod outbox;
mod pending;
mod requests;
mod stream;
mod stream_answers;
mod stream_batch;
mod stream_pipelined;
mod turn;

use std::sync::Arc;

use hashserv_log::{one_line, printable};
use hashserv_protocol::{HandshakeReader, Hello, Progress};
use hashserv_transport::{Connection, Incoming};
use tokio::time::timeout;
use tracing::{debug, info};

use conversation::Conversation;
use end::End;
use requests::serve_requests;

use crate::handshakes::Handshake;
use crate::refusal::Refused;
use crate::shared::Shared;

/// Serves an accepted connection until it ends, unless its handshake must give way.
pub(crate) async fn serve(shared: Arc<Shared>, incoming: Incoming, mut place: Handshake) {
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
        () = place.gives_way() => {
            info!("{peer} is turned away: its handshake is not complete, and others need its place");
            return;
        }
        () = shared.stopping.cancelled() => return,
    };
    drop(place);
    match opened {
        Ok(Ok((connection, hello))) => {
            run(Conversation::new(shared.for_client(&hello.via), connection, &hello)).await;
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

/// Serves a connection whose handshake is complete, and closes it.
async fn run(mut conversation: Conversation) {
    let end = serve_requests(&mut conversation).await;
    let Conversation { outbox, caller, .. } = &conversation;
    let peer = outbox.peer();
    let user = caller.user_name().map(|name| format!(" (user {name:?})")).unwrap_or_default();
    match end {
        End::Quiet => {
            debug!("{peer}{user} is gone");
            conversation.outbox.close().await;
        }
        End::Refused(refused) => {
            info!("{peer}{user} is refused: {}", printable(refused.message()));
            refuse(conversation, &refused).await;
        }
        End::RefusedInSilence(refused) => {
            info!("{peer}{user} is refused without a reply: {}", printable(refused.message()));
            conversation.outbox.close().await;
        }
        End::Failed(failed) => {
            let failures = &conversation.shared.failures;
            failures.log(format_args!("a request of {peer}{user} failed: {}", failed.cause()));
            conversation.outbox.close().await;
        }
        End::Disconnected(error) => {
            info!("{peer}{user} is gone: {}", one_line(&error));
            // It may have been told why, and shall get to read it.
            conversation.outbox.close().await;
        }
        End::Stalled => info!("{peer}{user} is cut off: it does not read its replies"),
    }
}

/// Tells the client what is refused, after all that was answered before.
async fn refuse(Conversation { mut outbox, .. }: Conversation, refused: &Refused) {
    if outbox.reply(&refused.to_reply().into()).is_ok() && outbox.send().await.is_ok() {
        outbox.close().await;
    }
}
