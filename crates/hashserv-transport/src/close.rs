//! Closing a connection so that what was sent last still arrives.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::receive::{ReceiveHalf, Source};
use crate::send::SendHalf;

/// How long a peer is waited for when a connection is closed.
const LINGER: Duration = Duration::from_secs(1);

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
    let _ = timeout(LINGER, farewell).await;
}

/// Ends our side only.
pub(crate) async fn finish(send: &mut SendHalf) {
    let _ = timeout(LINGER, send.say_goodbye()).await;
}

/// Ends our side of a bare socket and waits for the other.
pub(crate) async fn hang_up(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let farewell = async {
        if io.shutdown().await.is_ok() {
            discard(io).await;
        }
    };
    let _ = timeout(LINGER, farewell).await;
}

/// Reads until the end.
async fn discard(io: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = vec![0; 16 * 1024];
    while matches!(io.read(&mut scratch).await, Ok(count) if count > 0) {}
}
