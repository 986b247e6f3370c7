//! The sending side of a session.

use hashserv_protocol::Hello;
use hashserv_transport::SendHalf;

use crate::ClientError;
use crate::exchange::Progress;
use crate::send_state::{SendGuard, SendState};
use crate::stream::{MAX_QUERY, Query, StreamMode};

/// How much is sent at a time, in bytes, unless a single line is longer.
const PIECE: usize = 64 * 1024;

/// The sending half of a connection, and what goes out with the next write.
#[derive(Debug)]
pub(crate) struct Writer {
    half: SendHalf,
    pending: Vec<u8>,
    progress: Progress,
    guard: SendGuard,
}

impl Writer {
    /// A writer that has the handshake pending, so that it travels along with the first request.
    pub(crate) fn new(half: SendHalf, progress: Progress, state: SendState, hello: &Hello) -> Self {
        let guard = SendGuard::new(state);
        Writer { half, pending: hello.encode().into_bytes(), progress, guard }
    }

    /// Where lines are put that go out with the next [`flush`](Writer::flush).
    pub(crate) fn pending(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Sends what is pending. Not cancellation safe: afterwards the connection can only be dropped.
    pub(crate) async fn flush(&mut self) -> Result<(), ClientError> {
        let mut from = 0;
        while from < self.pending.len() {
            let piece = piece(&self.pending[from..]);
            self.half.send(piece).await.map_err(ClientError::Transport)?;
            self.progress.touch();
            from += piece.len();
        }
        self.pending.clear();
        self.pending.shrink_to(PIECE);
        Ok(())
    }

    /// Sends queries, never holding more than a piece of them. Not cancellation safe.
    pub(crate) async fn send_queries<M: StreamMode, Q: Query<M>>(
        &mut self,
        queries: &[Q],
    ) -> Result<(), ClientError> {
        self.queue_queries(queries).await?;
        self.flush().await
    }

    /// Puts queries before what goes out next, and sends them as far as they fill pieces. Not cancellation
    /// safe.
    pub(crate) async fn queue_queries<M: StreamMode, Q: Query<M>>(
        &mut self,
        queries: &[Q],
    ) -> Result<(), ClientError> {
        for query in queries {
            query.append(&mut self.pending)?;
            if self.pending.len() >= PIECE {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Tells the receiving half how an attempt to send ended.
    pub(crate) fn record(&self, outcome: Result<(), ClientError>) -> Result<(), ClientError> {
        self.guard.state().record(&outcome);
        outcome
    }

    pub(crate) async fn close(self) {
        self.guard.close();
        self.half.close().await;
    }

    pub(crate) fn into_half(self) -> SendHalf {
        self.guard.close();
        self.half
    }
}

/// Checks that all queries can be sent, so that a bad one is found before any is on its way.
pub(crate) fn check_queries<M: StreamMode, Q: Query<M>>(queries: &[Q]) -> Result<(), ClientError> {
    let mut line = Vec::new();
    queries.iter().try_for_each(|query| check(query, &mut line))
}

/// Checks that a query can be sent in a stream mode, as one line of at most 32 KiB. A batch with one that
/// cannot is refused as a whole; this finds the one.
///
/// # Errors
///
/// [`ClientError::Unsendable`] if it cannot.
pub fn check_query<M: StreamMode>(query: &impl Query<M>) -> Result<(), ClientError> {
    check(query, &mut Vec::new())
}

fn check<M: StreamMode>(query: &impl Query<M>, line: &mut Vec<u8>) -> Result<(), ClientError> {
    line.clear();
    query.append(line)?;
    if line.len() > MAX_QUERY {
        return Err(ClientError::Unsendable(format!("a query is longer than {MAX_QUERY} bytes")));
    }
    Ok(())
}

/// The first lines of `lines`, as many as fit a piece, and one at least.
fn piece(lines: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| *byte == b'\n';
    let fitting = lines[..lines.len().min(PIECE)].iter().rposition(is_end);
    let end = fitting.or_else(|| lines.iter().position(is_end));
    end.map_or(lines, |end| &lines[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines() {
        let short = b"a\nb\n";
        assert_eq!(piece(short), short);
        let long = [b"a\n".as_slice(), &[b'x'; PIECE], b"\nb\n"].concat();
        assert_eq!(piece(&long), b"a\n");
        assert_eq!(piece(&long[2..]).len(), PIECE + 1);
    }
}
