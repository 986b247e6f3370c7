//! Another server to ask.

mod backfill;
mod negative;
pub(crate) mod pull;
mod vetting;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_storage::{OuthashKey, TaskKey, UnifiedRow, Unihash};

/// Time within which an upstream's questions are answered by default.
pub const DEFAULT_UPSTREAM_TIMEOUT: Duration = Duration::from_secs(5);

/// Another hash equivalence server, which is asked what is not known here.
///
/// Nothing is ever reported to it. An implementation bounds every wait: within its [`timeout`](Upstream::timeout)
/// a caller has the answers that came, and is told of the others that the upstream is [`Unavailable`]. Results
/// are as many as what was asked, and stand in its order. Unihashes are as they are there, valid or not. A row may be large: who ask
/// for it at once share one. Every method may be dropped at any time.
#[async_trait]
pub trait Upstream: fmt::Debug + Send + Sync + 'static {
    /// Returns the time within which every question is answered.
    fn timeout(&self) -> Duration {
        DEFAULT_UPSTREAM_TIMEOUT
    }

    /// Takes note of the servers on whose behalf a client asks; returns whether the client would be asked in turn
    /// for what it asks, so that its questions must not be passed on.
    fn asks_in_circle(&self, _via: &[u64]) -> bool {
        false
    }

    /// Has answers kept that come when nobody waits for them any more. It is called once, before the first
    /// question. An implementation that receives none need not do anything.
    fn keep_late(&self, _keeper: Arc<dyn LateAnswers>) {}

    /// The unihashes that tasks have there.
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>>;

    /// Whether any task there has these unihashes.
    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>>;

    /// The oldest report there of a task that has a unihash.
    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable>;

    /// The oldest report there of an output whose task has a unihash. The asking is about `taskhash`, which
    /// does not restrict it.
    async fn outhash_row(
        &self,
        key: OuthashKey<'_>,
        taskhash: &str,
    ) -> Result<Option<Arc<UnifiedRow>>, Unavailable>;

    /// Gives the connections up. Later calls are answered with [`Unavailable`].
    async fn close(&self);
}

/// Keeps what an upstream answers too late for whoever asked, so that the next question finds it.
pub trait LateAnswers: fmt::Debug + Send + Sync {
    /// Keeps the unihash of a task, valid or not. Returns at once.
    fn unihash(&self, key: TaskKey<'_>, unihash: Unihash);

    /// Keeps a row. Returns at once.
    fn row(&self, row: Arc<UnifiedRow>);
}

/// The upstream did not answer in time, or is not asked at present. Whoever is asking here gets the local
/// answer; the implementation has logged the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the upstream server is not available")]
pub struct Unavailable;
