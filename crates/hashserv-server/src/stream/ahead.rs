//! Looking further queries up while earlier ones wait for the upstream.
//!
//! A client writes thousands of queries in one go. Answering what fits into the receive buffer before the
//! rest is looked at would cost one round trip to the upstream for each bufferful.

use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use hashserv_protocol::Request;
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use super::{Batch, Mode, Stop, answer};
use crate::refusal::{Failed, Fault};
use crate::server::Shared;
use crate::session::{End, Session};

/// How much may be looked up at a time for one client, in bytes of queries.
const MAX_AHEAD: usize = 1024 * 1024;

/// What a batch counts for besides its queries, so that the number of batches is bounded too.
const BATCH_WEIGHT: usize = 1024;

/// The replies to the end of a mode and to the request that begins it again.
const BEGUN_AGAIN: &[u8] = b"ok\n\"ok\"\n";

/// Lines that were taken together.
struct Taken {
    text: String,
    weight: usize,
    /// Whether the client then ended the mode, and began it again.
    is_begun_again: bool,
}

/// The replies to a batch.
struct Answer {
    weight: usize,
    replies: Vec<u8>,
    end: Result<(), Fault>,
}

/// Why no further queries are taken.
#[derive(Default)]
enum Intake {
    #[default]
    Open,
    /// The client ends the mode.
    End,
    Fault(Fault),
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
                && let Some(taken) = self.take_batch(mode, &mut progress.intake).await?
            {
                progress.weight += taken.weight;
                // A task of its own, so that it goes on, and holds up nobody, while this client does not read.
                let answer = tokio::spawn(look_up(self.shared.clone(), mode, taken));
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
                    Intake::Fault(fault) => return Err(fault.into()),
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
            let answer = answer.map_err(Failed::from)?;
            progress.weight -= answer.weight;
            self.out.extend_from_slice(&answer.replies);
            answer.end?;
            self.send_if_many().await?;
            next = answers.next().now_or_never().flatten();
        }
        self.send().await
    }

    /// Takes the lines that have arrived; `None` where there is none to be answered.
    async fn take_batch(&mut self, mode: Mode, intake: &mut Intake) -> Result<Option<Taken>, End> {
        let framing = self.connection.framing();
        let block = match self.connection.lines().complete() {
            Ok(block) => block,
            Err(error) => {
                *intake = Intake::Fault(error.into());
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
        let mut is_begun_again = false;
        self.turn.pass(work).await;
        match stop {
            Stop::Later => {}
            Stop::End => match self.take_beginning(mode) {
                true => is_begun_again = true,
                false => *intake = Intake::End,
            },
            Stop::Refused(refused) => *intake = Intake::Fault(refused.into()),
        }
        // A user may have lost the permission since the switch.
        if let Err(fault) = self.require(mode.permissions()).await {
            *intake = Intake::Fault(fault);
            return Ok(None);
        }
        let taken = Taken { text, weight: bytes + BATCH_WEIGHT, is_begun_again };
        Ok((!taken.text.is_empty() || is_begun_again).then_some(taken))
    }

    /// Takes the request that begins the same mode again, if it has arrived. A server that has this one for its
    /// upstream ends the mode after each batch, and must not wait for a round trip of ours each time.
    fn take_beginning(&mut self, mode: Mode) -> bool {
        let Ok(block) = self.connection.lines().complete() else { return false };
        let Some(end) = memchr::memchr(b'\n', block) else { return false };
        let request = std::str::from_utf8(&block[..end]).ok().and_then(|line| Request::parse(line).ok());
        let is_same = request.flatten().is_some_and(|request| Mode::of(request.command()) == Some(mode));
        if is_same {
            self.connection.lines().consume(end + 1);
        }
        is_same
    }
}

async fn look_up(shared: Arc<Shared>, mode: Mode, Taken { text, weight, is_begun_again }: Taken) -> Answer {
    let started = Instant::now();
    let lines: Vec<&str> = text.split('\n').filter(|line| !line.is_empty()).collect();
    let mut replies = Vec::new();
    let end = answer(mode, &shared, &lines, &mut replies).await;
    if is_begun_again && end.is_ok() {
        replies.extend_from_slice(BEGUN_AGAIN);
    }
    shared.statistics.record(lines.len(), started.elapsed());
    Answer { weight, replies, end }
}
