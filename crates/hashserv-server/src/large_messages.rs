//! Reading of large messages, which would hold up other clients.
//!
//! Millions of keys take a second to read, in which a worker thread serves nobody else. So large messages are read on
//! a thread of their own, one after the other.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::refusal::{Failed, Fault, Refused};

/// Size of a message, in bytes, above which it is large.
const LARGE_MESSAGE_BYTES: usize = 64 * 1024;

/// Longest message in bytes that is no report. The arguments of all other commands are small, but BitBake's server
/// takes anything up to 1 MiB over a WebSocket.
const MAX_OTHER_MESSAGE_BYTES: usize = 1024 * 1024;

/// Number of large messages that are read at a time: one, so that a machine with two processors has one left.
const MAX_CONCURRENT: usize = 1;

/// Reader of the large messages of all clients.
#[derive(Debug)]
pub(crate) struct LargeMessages(Arc<Semaphore>);

impl Default for LargeMessages {
    fn default() -> Self {
        LargeMessages(Arc::new(Semaphore::new(MAX_CONCURRENT)))
    }
}

impl LargeMessages {
    /// Does the work of reading on a thread for it, once it is its turn.
    ///
    /// Where the caller goes away, work that has begun goes on, and keeps its place until then.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn = self.0.clone().acquire_owned().await;
        let task = spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        let failed = |error| Failed::new(format!("the reading of a large message was given up: {error}"));
        Ok(task.await.map_err(failed)??)
    }
}

/// Reports whether a message takes long to read.
pub(crate) fn is_large(text: &str) -> bool {
    text.len() > LARGE_MESSAGE_BYTES
}

/// Refuses a message that is too long for all commands but reports, before it is read.
pub(crate) fn check_length(text: &str) -> Result<(), Refused> {
    if text.len() <= MAX_OTHER_MESSAGE_BYTES || is_report(text) {
        return Ok(());
    }
    let message = format!("A message is longer than {MAX_OTHER_MESSAGE_BYTES} bytes and is no report");
    Err(Refused::new(message))
}

/// Reports whether the first key of an object is that of a report; clients send no other.
fn is_report(text: &str) -> bool {
    let members = text.trim_ascii_start().strip_prefix('{');
    members.is_some_and(|members| members.trim_ascii_start().starts_with("\"report\""))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_message_is_read_at_a_time_and_on_another_thread() {
        let reader = LargeMessages::default();
        let (release, released) = mpsc::channel::<()>();
        let mut first = Box::pin(reader.read(move || {
            let _ = released.recv();
            Ok(std::thread::current().id())
        }));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(reader.read(|| Ok(())));
        assert!(second.as_mut().now_or_never().is_none());
        assert_eq!(reader.0.available_permits(), 0);
        release.send(()).unwrap();
        assert_ne!(first.await, Ok(std::thread::current().id()));
        assert_eq!(second.await, Ok(()));
        assert_eq!(reader.0.available_permits(), MAX_CONCURRENT);
    }

    #[test]
    fn only_a_report_may_be_long() {
        let of = |start: &str, length: usize| format!("{start}{}", " ".repeat(length - start.len()));
        for start in ["{\"report\":", " {\n\"report\": {"] {
            assert_eq!(check_length(&of(start, MAX_OTHER_MESSAGE_BYTES + 1)), Ok(()));
        }
        for start in ["", "{\"ping\":", "[\"report\"", "{\"report-equiv\":", "\"report\""] {
            assert_eq!(check_length(&of(start, MAX_OTHER_MESSAGE_BYTES)), Ok(()));
            assert!(check_length(&of(start, MAX_OTHER_MESSAGE_BYTES + 1)).is_err(), "{start}");
        }
    }
}
