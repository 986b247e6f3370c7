//! Asking another server.

mod breaker;
mod failure;
mod flights;
mod lane;
mod modes;
mod route;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use hashserv_client::{ClientOptions, Login};
use hashserv_protocol::Address;
use hashserv_service::{DEFAULT_UPSTREAM_TIMEOUT, LateAnswers, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, TaskKey, UnifiedRow, Unihash};
use hashserv_transport::Dialer;
use tokio_util::sync::CancellationToken;

use breaker::Breaker;
use lane::{Lane, Shared};
use modes::{ExistsMode, GetMode, RowMode, RowQuestion};
use route::Route;

/// How an upstream is asked.
#[derive(Clone)]
pub struct UpstreamOptions {
    /// How long whoever asks waits for the answer at most, connecting included. 5 s by default. Give the
    /// dialer this time too: a connection that takes longer is of no use to whoever asks.
    pub timeout: Duration,
    /// The name and the token to log in with on every connection.
    pub login: Option<(String, String)>,
    /// The longest reply in bytes: a row with all the text that was hashed. 64 MiB by default. Over a
    /// WebSocket the limits of the dialer count.
    pub max_message: usize,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        UpstreamOptions {
            timeout: DEFAULT_UPSTREAM_TIMEOUT,
            login: None,
            max_message: hashserv_protocol::DEFAULT_MAX_MESSAGE,
        }
    }
}

// By hand, so that no token gets into a log.
impl fmt::Debug for UpstreamOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamOptions")
            .field("timeout", &self.timeout)
            .field("login", &self.login.as_ref().map(|(username, _)| username))
            .field("max_message", &self.max_message)
            .finish()
    }
}

/// An upstream reached over the network, by any server that speaks the protocol.
///
/// All sessions share at most three connections: one for unihashes, one for existence, one for rows. Each is
/// opened when it is needed and given up after five minutes without a question. Questions of all callers go
/// out as they come, in one write where several have gathered, while earlier ones are awaited; a question that
/// is asked already is not asked a second time, but its answer shared.
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
    unihashes: Lane<GetMode>,
    existence: Lane<ExistsMode>,
    rows: Lane<RowMode>,
    shared: Arc<Shared>,
}

impl ClientUpstream {
    /// An upstream at an address. Nothing is dialled before the first question. It must be called within a
    /// tokio runtime, in which it works in the background until it is closed or dropped.
    #[must_use]
    pub fn new(dialer: impl Into<Arc<Dialer>>, address: Address, options: UpstreamOptions) -> Self {
        let shared = Arc::new(Shared {
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
            unihashes: Lane::start(shared.clone()),
            existence: Lane::start(shared.clone()),
            rows: Lane::start(shared.clone()),
            shared,
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
        self.shared.timeout
    }

    fn keep_late(&self, keeper: Arc<dyn LateAnswers>) {
        // The first one stays.
        let _ = self.shared.late.set(keeper);
    }

    fn asks_in_circle(&self, via: &[u64]) -> bool {
        self.shared.route.is_circle(via)
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
        self.shared.closing.cancel();
    }
}

impl Drop for ClientUpstream {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}
