//! Last words on a bare socket, within a deadline.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Deadline for saying good-bye when a connection is closed, the wait for the peer included.
pub(crate) const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// Ends our side of a bare socket and waits for the other.
pub(crate) async fn hang_up(io: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    let farewell = async {
        if io.shutdown().await.is_ok() {
            discard(io).await;
        }
    };
    let _ = timeout(GOODBYE_DEADLINE, farewell).await;
}

/// Reads until the end.
pub(crate) async fn discard(io: &mut (impl AsyncRead + Unpin)) {
    let mut scratch = vec![0; 16 * 1024];
    while matches!(io.read(&mut scratch).await, Ok(count) if count > 0) {}
}
