//! Telling callers what became of what they asked together.

use hashserv_storage::StorageError;
use tokio::sync::oneshot;

/// Where the answer to one caller goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<Vec<T>, StorageError>>;

/// One failure, told to each of several callers.
pub(crate) trait SharedFailure: Send + Sync {
    fn storage_error(&self) -> StorageError;
    /// Whether the same would happen to any other write just now, so that there is no use in trying.
    fn concerns_all(&self) -> bool;
}

/// Gives every caller as many of the results as it waits for, or tells all of the failure.
pub(crate) fn answer_all<R>(
    callers: impl Iterator<Item = (usize, Reply<R>)>,
    result: Result<Vec<R>, impl SharedFailure>,
) {
    match result {
        Ok(results) => {
            let mut results = results.into_iter();
            for (count, reply) in callers {
                // A caller that has gone wants no answer.
                let _ = reply.send(Ok(results.by_ref().take(count).collect()));
            }
        }
        Err(failure) => {
            for (_, reply) in callers {
                let _ = reply.send(Err(failure.storage_error()));
            }
        }
    }
}

/// Tells one caller.
pub(crate) fn answer<R>(reply: Reply<R>, result: Result<Vec<R>, impl SharedFailure>) {
    let _ = reply.send(result.map_err(|failure| failure.storage_error()));
}
