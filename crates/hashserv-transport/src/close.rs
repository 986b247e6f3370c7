//! Closing a connection so that what was sent last still arrives.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
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
        if send.shutdown().await.is_err() || receive.has_ended() {
            return;
        }
        match receive.source() {
            Source::Unix(half) => discard(half).await,
            Source::Tcp(half) => discard(half).await,
            // There is no buffer in the system that could be lost.
            Source::Memory(_) => {}
        }
    };
    // A peer that does not answer has no farewell coming to it.
    let _ = timeout(LINGER, farewell).await;
}

/// Ends our side only.
pub(crate) async fn finish(send: &mut SendHalf) {
    let _ = timeout(LINGER, send.shutdown()).await;
}

/// Reads until the end.
pub(crate) async fn discard(io: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = vec![0; 16 * 1024];
    while matches!(io.read(&mut scratch).await, Ok(count) if count > 0) {}
}
