//! Progress of the writer.

use std::sync::atomic::AtomicU64;

/// State that the queue shares with its writer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes of the answers that wait.
    pub(super) bytes: AtomicU64,
    /// Number of answers that were not kept, for whatever reason.
    pub(super) lost: AtomicU64,
}
