//! Closing a connection so that what was sent last still arrives.

use tokio::time::timeout;

use crate::goodbye::{GOODBYE_DEADLINE, discard};
use crate::receive::{ReceiveHalf, Source};
use crate::send::SendHalf;

/// Ends our side, then discards what the peer is sending until it ends its own.
///
/// To drop a TCP socket that has unread input resets the connection, and the reset overtakes what was sent
/// last: the very message that says why we close.
pub(crate) async fn close(mut receive: ReceiveHalf, mut send: SendHalf) {
    let farewell = async {
        let told = send.say_goodbye().await;
        let (ended, failed) = (receive.has_ended(), receive.has_failed());
        match receive.source() {
            Source::Unix(half) if told && !ended => discard(half).await,
            Source::Tcp(half) if told && !ended => discard(half).await,
            // In memory there is no buffer of the system's that could be lost.
            Source::Unix(_) | Source::Tcp(_) | Source::Memory(_) => {}
            Source::WebSocket(socket) => {
                if told && !ended && !failed {
                    socket.await_goodbye().await;
                }
                socket.shutdown().await;
                if failed {
                    socket.discard().await;
                }
            }
        }
    };
    // A peer that does not answer has no farewell coming to it.
    let _ = timeout(GOODBYE_DEADLINE, farewell).await;
}
