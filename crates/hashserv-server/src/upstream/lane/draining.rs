//! Answers that come after a connection was silent for too long.

use std::sync::Arc;
use std::time::Duration;

use hashserv_client::ClientError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::writing::Writing;
use super::{Flights, Mode, Shared, describe};

/// How long a connection that has failed by its silence is still read from, for answers that are kept.
const LATE_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// How many such connections a lane reads from at most. The oldest are the nearest to their answers.
const MAX_DRAINING: usize = 2;

/// Connections that have failed by their silence and are still read from in the background, so that what the
/// upstream takes its time for need not be asked again and again.
#[derive(Default)]
pub(super) struct Draining(Vec<AbortOnDropHandle<()>>);

impl Draining {
    /// Reads on from a connection; gives it up where enough are read from already.
    pub(super) fn add<M: Mode>(
        &mut self,
        shared: Arc<Shared>,
        mut flights: Flights<M>,
        mut receiver: M::Receiver,
        writing: Writing,
        unsent: mpsc::UnboundedSender<Arc<M::Question>>,
    ) {
        self.0.retain(|draining| !draining.is_finished());
        if self.0.len() >= MAX_DRAINING {
            return;
        }
        let reading = async move {
            while !flights.is_empty() {
                for reply in M::receive(&mut receiver).await? {
                    flights.answer(reply, shared.late())?;
                }
            }
            Ok::<_, ClientError>(())
        };
        let task = tokio::spawn(async move {
            // Without it the writer would end, and the upstream might take that for the end of the connection.
            let _unsent = unsent;
            let ended = tokio::select! {
                ended = timeout(LATE_ANSWER_DEADLINE, reading) => ended.unwrap_or(Ok(())),
                ended = writing => ended,
            };
            if let Err(error) = ended {
                debug!("no further late answers of the upstream are received: {}", describe(&error));
            }
        });
        self.0.push(AbortOnDropHandle::new(task));
    }
}
