//! Deadline for a request, which covers all that its reply waits for.
//!
//! Permissions, the database and the upstream have limits of their own, each of which begins when its part does. Added
//! up they exceed the time after which clients give up. So a request has one deadline from the moment when it is taken
//! up, besides.

use std::time::Duration;

use hashserv_protocol::{Command, Latency};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Failed;

/// Deadline for a request, measured from when it is taken up. Clients give up after 30 s.
const REQUEST_DEADLINE: Duration = Duration::from_secs(25);

/// Moment at which a request fails that is not answered; none for one that may take long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// The deadline for a request, or a batch of them, that is taken up now.
    pub(super) fn starting_now() -> Self {
        Deadline(Some(Instant::now() + REQUEST_DEADLINE))
    }

    /// The same for a request of that command.
    pub(super) fn for_command(command: Command) -> Self {
        match command.latency() {
            Latency::Immediate | Latency::Short | Latency::Queued => Deadline::starting_now(),
            Latency::Unbounded => Deadline(None),
        }
    }

    /// Does a part of the work for the request, and fails at the deadline.
    ///
    /// The work is polled before the deadline is looked at: what need not wait sets no timer.
    pub(super) async fn keep<T, E: From<Failed>>(
        self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let Some(deadline) = self.0 else { return work.await };
        timeout_at(deadline, work).await.unwrap_or_else(|_| {
            let seconds = REQUEST_DEADLINE.as_secs();
            Err(Failed::new(format!("it was not answered within {seconds} s")).into())
        })
    }
}
