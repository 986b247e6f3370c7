//! Looking further queries up while earlier ones wait for the upstream.
//!
//! A client writes thousands of queries in one go. Answering what fits into the receive buffer before the
//! rest is looked at would cost one round trip to the upstream for each bufferful.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::{Batch, Mode, Stop, answer};
use crate::refusal::Refused;
use crate::server::Shared;
use crate::session::{End, Session};

/// How much may be looked up at a time for one client, in bytes of queries.
const MAX_AHEAD: usize = 1024 * 1024;

/// What a batch counts for besides its queries, so that the number of batches is bounded too.
const BATCH_WEIGHT: usize = 1024;

/// The replies to a batch.
struct Answer {
    weight: usize,
    replies: Vec<u8>,
    end: Result<(), Refused>,
}

/// Why no further queries are taken.
#[derive(Default)]
enum Intake {
    #[default]
    Open,
    /// The client ends the mode.
    End,
    Refused(Refused),
    /// The client sends nothing more, or the server stops.
    Gone,
}

/// How far the session has come.
#[derive(Default)]
struct Progress {
    intake: Intake,
    /// What is being looked up weighs so much.
    weight: usize,
}

impl Progress {
    fn takes_more(&self) -> bool {
        matches!(self.intake, Intake::Open) && self.weight < MAX_AHEAD
    }
}

impl Session {
    /// Serves queries until the client ends the mode, as [`stream_mode`](Session::stream_mode) does. Replies
    /// are sent in order, as soon as they are known.
    pub(super) async fn stream_mode_ahead(&mut self, mode: Mode) -> Result<(), End> {
        let mut progress = Progress::default();
        let mut answers = FuturesOrdered::new();
        loop {
            while progress.takes_more()
                && let Some((lines, weight)) = self.take_batch(mode, &mut progress.intake).await?
            {
                progress.weight += weight;
                // A task of its own, so that it goes on, and holds up nobody, while this client does not read.
                let answer = tokio::spawn(look_up(self.shared.clone(), mode, lines, weight));
                answers.push_back(AbortOnDropHandle::new(answer));
            }
            tokio::select! {
                biased;
                Some(answer) = answers.next() => self.deliver(answer, &mut answers, &mut progress).await?,
                () = self.shared.stopping.cancelled(), if !answers.is_empty() && progress.takes_more() => {
                    progress.intake = Intake::Gone;
                }
                received = self.connection.receive(), if !answers.is_empty() && progress.takes_more() => {
                    if !received? {
                        progress.intake = Intake::Gone;
                    }
                }
                else => match std::mem::take(&mut progress.intake) {
                    Intake::Open => self.send_and_receive().await?,
                    Intake::End => {
                        self.end_of_mode();
                        return Ok(());
                    }
                    Intake::Refused(refused) => return Err(refused.into()),
                    Intake::Gone => return Err(End::Quiet),
                },
            }
        }
    }

    /// Sends an answer, and those after it that are known already.
    async fn deliver(
        &mut self,
        answer: Result<Answer, JoinError>,
        answers: &mut FuturesOrdered<AbortOnDropHandle<Answer>>,
        progress: &mut Progress,
    ) -> Result<(), End> {
        let mut next = Some(answer);
        while let Some(answer) = next {
            let answer = answer.map_err(Refused::from)?;
            progress.weight -= answer.weight;
            self.out.extend_from_slice(&answer.replies);
            answer.end?;
            self.send_if_many().await?;
            next = answers.next().now_or_never().flatten();
        }
        self.send().await
    }

    /// Takes the lines that have arrived, and what they weigh; `None` where there is none to be answered.
    async fn take_batch(&mut self, mode: Mode, intake: &mut Intake) -> Result<Option<(String, usize)>, End> {
        let framing = self.connection.framing();
        let block = match self.connection.lines().complete() {
            Ok(block) => block,
            Err(error) => {
                *intake = Intake::Refused(error.into());
                return Ok(None);
            }
        };
        if block.is_empty() {
            return Ok(None);
        }
        let batch = Batch::read(block, framing);
        let text = batch.lines.join("\n");
        let Batch { bytes, stop, lines } = batch;
        let work = lines.len();
        self.connection.lines().consume(bytes);
        self.turn.pass(work).await;
        match stop {
            Stop::Later => {}
            Stop::End => *intake = Intake::End,
            Stop::Refused(refused) => *intake = Intake::Refused(refused),
        }
        // A user may have lost the permission since the switch.
        if let Err(refused) = self.require(mode.permissions()).await {
            *intake = Intake::Refused(refused);
            return Ok(None);
        }
        Ok((!text.is_empty()).then_some((text, bytes + BATCH_WEIGHT)))
    }
}

async fn look_up(shared: Arc<Shared>, mode: Mode, text: String, weight: usize) -> Answer {
    let started = Instant::now();
    let lines: Vec<&str> = text.split('\n').collect();
    let mut replies = Vec::new();
    let end = answer(mode, &shared.service, &lines, &mut replies).await;
    shared.statistics.record(lines.len(), started.elapsed());
    Answer { weight, replies, end }
}
