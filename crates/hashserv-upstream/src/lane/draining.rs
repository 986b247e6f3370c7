//! Answers that come after a connection was silent for too long.

use std::sync::Arc;
use std::time::Duration;

use hashserv_client::ClientError;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::context::LaneContext;
use super::writing::Writing;
use crate::failure::describe;
use crate::in_flight::InFlight;
use crate::question_kind::QuestionKind;

/// Time for which a connection that has failed by its silence is still read from, for answers that are kept.
const LATE_ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// Number of such connections that a lane reads from at most. The oldest are the nearest to their answers.
const MAX_DRAINING_CONNECTIONS: usize = 2;

/// Connections that have failed by their silence and are still read from in the background, so that what the
/// upstream takes its time for need not be asked again and again.
#[derive(Default)]
pub(crate) struct Draining(Vec<AbortOnDropHandle<()>>);

impl Draining {
    /// Reads on from a connection; gives it up where enough are read from already.
    pub(crate) fn add<K: QuestionKind>(
        &mut self,
        context: Arc<LaneContext>,
        mut in_flight: InFlight<K>,
        mut receiver: K::Receiver,
        writing: Writing,
        unsent: mpsc::UnboundedSender<Arc<K::Question>>,
    ) {
        self.0.retain(|draining| !draining.is_finished());
        if self.0.len() >= MAX_DRAINING_CONNECTIONS {
            return;
        }
        let reading = async move {
            while !in_flight.is_empty() {
                for reply in K::receive(&mut receiver).await? {
                    in_flight.answer(reply, context.late())?;
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
