//! Writing and reading at the same time, within a time limit.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::ClientError;

/// When anything was last sent or received on a connection.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    pub(crate) fn new() -> Self {
        Progress(Arc::new(Mutex::new(Instant::now())))
    }

    pub(crate) fn touch(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs `write` and `read` together and returns what was read, once both are done.
///
/// Reading alone may end it early: with a refusal, which a server sends before it has read everything. A
/// failure of `write` counts only if reading finds none, since the refusal that explains it may have
/// arrived already.
pub(crate) async fn exchange<T>(
    write: impl Future<Output = Result<(), ClientError>>,
    read: impl Future<Output = Result<T, ClientError>>,
    progress: &Progress,
    patience: Duration,
) -> Result<T, ClientError> {
    progress.touch();
    let (mut write, mut read, mut timer) = (pin!(write), pin!(read), pin!(sleep(patience)));
    let mut written = None;
    let mut reply = None;
    loop {
        if written.is_some()
            && let Some(reply) = reply.take()
        {
            return Ok(reply);
        }
        tokio::select! {
            result = &mut read, if reply.is_none() => match result {
                Ok(value) => reply = Some(value),
                Err(refusal) if refusal.is_refusal() => return Err(refusal),
                Err(error) => return Err(first_failure(written, error)),
            },
            result = &mut write, if written.is_none() => written = Some(result),
            () = &mut timer => {
                let due = progress.last() + patience;
                if due <= Instant::now() {
                    return Err(first_failure(written, ClientError::Timeout { after: patience }));
                }
                timer.as_mut().reset(due);
            }
        }
    }
}

fn first_failure(written: Option<Result<(), ClientError>>, otherwise: ClientError) -> ClientError {
    written.and_then(Result::err).unwrap_or(otherwise)
}
