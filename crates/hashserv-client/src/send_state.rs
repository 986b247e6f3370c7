//! State of the sending half of a connection, as the receiving half sees it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::ClientError;

/// State that both halves of a connection share.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendState {
    state: Arc<Mutex<State>>,
    /// Wakes a receiving half that waits for replies that will not come.
    given_up: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Failure of the last attempt to send.
    failure: Option<Failure>,
    /// Whether the sending half was dropped without being closed.
    is_dropped: bool,
}

#[derive(Clone, Debug)]
struct Failure {
    cause: String,
    is_lost: bool,
}

impl SendState {
    /// Records the outcome of an attempt to send.
    pub(crate) fn record<T>(&self, outcome: &Result<T, ClientError>) {
        self.lock().failure = outcome
            .as_ref()
            .err()
            .map(|error| Failure { cause: hashserv_log::one_line(error), is_lost: error.is_lost() });
    }

    /// Returns the error for a receiving half whose connection ended: that of the sending half where this
    /// explains it, else `otherwise`.
    pub(crate) fn explain(&self, otherwise: ClientError) -> ClientError {
        let state = self.lock();
        // While the sending half is there, its failure is its caller's to see.
        if !state.is_dropped {
            return otherwise;
        }
        let (cause, is_lost) = match &state.failure {
            Some(failure) => (failure.cause.clone(), failure.is_lost),
            None => ("the sending half was dropped before all replies arrived".to_owned(), false),
        };
        ClientError::SendFailed { cause, is_lost }
    }

    /// Waits until the sending half is dropped after a failure. Cancellation safe.
    pub(crate) async fn given_up(&self) {
        while !self.is_given_up() {
            self.given_up.notified().await;
        }
    }

    fn is_given_up(&self) -> bool {
        let state = self.lock();
        state.is_dropped && state.failure.is_some()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Guard of a sending half: records that the half was dropped, unless it is closed first.
#[derive(Debug)]
pub(crate) struct SendGuard {
    state: SendState,
    is_closed: bool,
}

impl SendGuard {
    pub(crate) fn new(state: SendState) -> Self {
        SendGuard { state, is_closed: false }
    }

    pub(crate) fn state(&self) -> &SendState {
        &self.state
    }

    /// Records that the half was closed on purpose.
    pub(crate) fn close(mut self) {
        self.is_closed = true;
    }
}

impl Drop for SendGuard {
    fn drop(&mut self) {
        if !self.is_closed {
            self.state.lock().is_dropped = true;
            self.state.given_up.notify_one();
        }
    }
}
