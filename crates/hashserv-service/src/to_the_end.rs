//! Work that its caller cannot stop.

use hashserv_storage::StorageError;

/// Does the work in a task of its own, which goes on when the caller has gone; drops `guard` when the work has
/// ended, however it ended.
pub(crate) async fn to_the_end<T: Send + 'static>(
    guard: impl Send + 'static,
    work: impl Future<Output = Result<T, StorageError>> + Send + 'static,
) -> Result<T, StorageError> {
    let task = tokio::spawn(async move {
        let _guard = guard;
        work.await
    });
    task.await.map_err(StorageError::backend)?
}
