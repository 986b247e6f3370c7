//! Limits of the waits that callers share.

use std::time::Duration;

use hashserv_storage::StorageError;
use tokio::time::{Instant, timeout_at};

/// Deadline of a call that writes, measured from the call: what it needs (its turn, a lock, a connection) must be
/// there by then.
pub(crate) const WRITE_START_DEADLINE: Duration = Duration::from_secs(20);
/// Deadline for the answer to a call that writes, measured from the call. Clients give up after 30 s.
pub(crate) const WRITE_DEADLINE: Duration = Duration::from_secs(24);
/// Deadline of a look-up in a queue, measured from the call: its statement must have started by then.
pub(crate) const LOOKUP_START_DEADLINE: Duration = Duration::from_secs(10);
/// Deadline for the answer to a look-up, measured from the call.
pub(crate) const LOOKUP_DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `answer` until `limit` after `called`.
///
/// What was asked goes on where it has started; a queue drops what has not.
pub(crate) async fn within<T>(
    called: Instant,
    limit: Duration,
    answer: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let late = |_| Err(StorageError::Timeout(format!("no answer for {} seconds", limit.as_secs())));
    timeout_at(called + limit, answer).await.unwrap_or_else(late)
}

/// The error of a call whose turn did not come in time.
pub(crate) fn late(limit: Duration) -> StorageError {
    StorageError::Timeout(format!("those before it took {} seconds", limit.as_secs()))
}
