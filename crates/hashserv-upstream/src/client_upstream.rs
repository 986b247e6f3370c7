//! The upstream of a service, over the network.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hashserv_client::{ClientOptions, Login};
use hashserv_protocol::Address;
use hashserv_service::{LateAnswers, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, TaskKey, UnifiedRow, Unihash};
use hashserv_transport::Dialer;
use tokio_util::sync::CancellationToken;

use crate::UpstreamOptions;
use crate::breaker::Breaker;
use crate::lane::Lane;
use crate::lane::context::LaneContext;
use crate::question_kind::{ExistenceKind, RowKind, UnihashKind};
use crate::route::Route;
use crate::row_question::RowQuestion;

/// An upstream reached over the network, by any server that speaks the protocol.
///
/// All sessions share at most three connections: one for unihashes, one for existence, one for rows. Each is
/// opened when it is needed and given up after five minutes without a question. Questions of all callers go
/// out as they come, in one write where several have gathered, while earlier ones are awaited; a question that
/// is asked already is not asked a second time, but its answer is shared.
///
/// # Bounds
///
/// - Whoever asks has what was answered, and is told of the rest that the upstream is unavailable, within
///   [`UpstreamOptions::timeout`].
/// - A connection on which nothing arrives for that time while questions wait has failed. One that is merely
///   slow is used on, but takes no further questions while it is behind by more than that time.
/// - Each connection has at most about 65,536 questions under way; further callers wait, within the same
///   time.
/// - After a failure the upstream is not asked at all for 1 s, and for twice as long after each further
///   failure, up to 60 s. Then it is probed in the background, and asked again once it has answered. Nobody
///   waits meanwhile. One line at WARNING tells of the failure, one at INFO that the upstream is back. Where it
///   closes connections, answers nonsense or is silent about a row, this holds for the one kind of question.
/// - A connection that is lost is no failure yet: it is dialled again, up to four times in a row, and asked
///   what is unanswered, one question at a time. The question that was to be answered when that happened twice
///   is answered without the upstream.
/// - Replies are counted: unless as many came as were asked for, none of up to 256 that are counted together is
///   used.
/// - An answer that comes too late for whoever asked is kept for the next one. A connection that has failed by
///   its silence is read from for 60 s more to that end, two for each kind of question at most.
#[derive(Debug)]
pub struct ClientUpstream {
    unihashes: Lane<UnihashKind>,
    existence: Lane<ExistenceKind>,
    rows: Lane<RowKind>,
    context: Arc<LaneContext>,
}

impl ClientUpstream {
    /// An upstream at an address. Nothing is dialled before the first question. It must be called within a
    /// tokio runtime, in which it works in the background until it is closed or dropped.
    #[must_use]
    pub fn new(dialer: impl Into<Arc<Dialer>>, address: Address, options: UpstreamOptions) -> Self {
        let context = Arc::new(LaneContext {
            breaker: Breaker::new(address.to_string()),
            timeout: options.timeout,
            client: ClientOptions {
                reply_timeout: options.timeout,
                max_message: options.max_message,
                login: options.login.map(|(username, token)| Login::new(username, token)),
                ..ClientOptions::default()
            },
            dialer: dialer.into(),
            route: Route::new(address.to_string()),
            late: OnceLock::new(),
            address,
            closing: CancellationToken::new(),
        });
        ClientUpstream {
            unihashes: Lane::start(context.clone()),
            existence: Lane::start(context.clone()),
            rows: Lane::start(context.clone()),
            context,
        }
    }

    /// Tries the upstream in the background. One line at WARNING tells of a wrong address, certificate or token,
    /// before anybody asks in vain.
    pub fn try_out(&self) {
        self.unihashes.try_out();
    }

    async fn row(&self, question: RowQuestion) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.rows.ask(vec![question]).await.pop().unwrap_or(Err(Unavailable))
    }
}

#[async_trait]
impl Upstream for ClientUpstream {
    fn timeout(&self) -> Duration {
        self.context.timeout
    }

    fn keep_late(&self, keeper: Arc<dyn LateAnswers>) {
        // The first one stays.
        let _ = self.context.late.set(keeper);
    }

    fn asks_in_circle(&self, via: &[u64]) -> bool {
        self.context.route.is_circle(via)
    }

    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        let questions = keys.iter().map(|key| (key.method.to_owned(), key.taskhash.to_owned()));
        self.unihashes.ask(questions.collect()).await
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        self.existence.ask(unihashes.to_vec()).await
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.row(RowQuestion::task(key)).await
    }

    async fn outhash_row(
        &self,
        key: OuthashKey<'_>,
        taskhash: &str,
    ) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.row(RowQuestion::outhash(key, taskhash)).await
    }

    async fn close(&self) {
        self.context.closing.cancel();
    }
}

impl Drop for ClientUpstream {
    fn drop(&mut self) {
        self.context.closing.cancel();
    }
}
