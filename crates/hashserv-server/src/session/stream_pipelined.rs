//! Stream modes with an upstream: further queries are looked up while earlier ones wait for it.
//!
//! A client writes thousands of queries in one go. Answering what fits into the receive buffer before the
//! rest is looked at would cost one round trip to the upstream for each bufferful.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::stream::{FuturesOrdered, StreamExt};
use hashserv_protocol::Request;
use hashserv_protocol::stream::StreamMode;
use tokio_util::task::AbortOnDropHandle;

use super::conversation::Conversation;
use super::deadline::Deadline;
use super::end::End;
use super::stream_answers::answer_lines;
use super::stream_batch::{Batch, Stop};
use crate::refusal::{Failed, Fault};
use crate::shared::Shared;

/// Size of the queries that are looked up at a time for one client, in bytes.
const MAX_PIPELINED_BYTES: usize = 1024 * 1024;

/// Size, in bytes, that a batch counts for besides its queries, so that the number of batches is bounded too.
const BATCH_OVERHEAD_BYTES: usize = 1024;

/// The replies to the end of a mode and to the request that begins it again.
const BEGUN_AGAIN: &[u8] = b"ok\n\"ok\"\n";

/// A batch of lines that outlives the receive buffer.
struct OwnedBatch {
    text: String,
    weight: usize,
    deadline: Deadline,
    /// Set where the client then ended the mode, and started it again.
    is_begun_again: bool,
}

/// The replies to a batch.
struct Answers {
    weight: usize,
    replies: Vec<u8>,
    end: Result<(), Fault>,
}

/// Reason why no further queries are read.
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

/// Queries that are being looked up, and whether further ones are read.
#[derive(Default)]
struct Pipeline {
    intake: Intake,
    /// Size of all that is being looked up, in bytes, overhead included.
    weight: usize,
    /// Deadlines for the batches that are being looked up, in their order.
    deadlines: VecDeque<Deadline>,
}

impl Pipeline {
    fn takes_more(&self) -> bool {
        matches!(self.intake, Intake::Open) && self.weight < MAX_PIPELINED_BYTES
    }
}

/// Answers in the order of their batches.
type Lookups = FuturesOrdered<AbortOnDropHandle<Answers>>;

/// Serves queries until the client ends the mode. Replies are sent in order, as soon as they are known.
pub(super) async fn serve_pipelined(conversation: &mut Conversation, mode: StreamMode) -> Result<(), End> {
    let shared = conversation.shared.clone();
    let mut pipeline = Pipeline::default();
    let mut lookups = Lookups::new();
    loop {
        while pipeline.takes_more()
            && let Some(batch) = take_batch(conversation, mode, &mut pipeline).await?
        {
            pipeline.weight += batch.weight;
            pipeline.deadlines.push_back(batch.deadline);
            // A task of its own, so that it goes on, and holds up nobody, while this client does not read.
            let answers = tokio::spawn(look_up(shared.clone(), mode, batch));
            lookups.push_back(AbortOnDropHandle::new(answers));
        }
        tokio::select! {
            // Replies come first: a client that sends without end still receives them.
            biased;
            Some(answers) = next_answers(&mut lookups, &pipeline.deadlines) => {
                deliver(conversation, answers, &mut lookups, &mut pipeline).await?;
            }
            () = shared.stopping.cancelled(), if !lookups.is_empty() && pipeline.takes_more() => {
                pipeline.intake = Intake::Gone;
            }
            received = conversation.outbox.receive(), if !lookups.is_empty() && pipeline.takes_more() => {
                if !received? {
                    pipeline.intake = Intake::Gone;
                }
            }
            // Nothing is being looked up.
            else => match std::mem::take(&mut pipeline.intake) {
                Intake::Open => conversation.outbox.send_and_receive().await?,
                Intake::End => return Ok(()),
                Intake::Fault(fault) => return Err(fault.into()),
                Intake::Gone => return Err(End::Quiet),
            },
        }
    }
}

/// Returns the next answers once they are known, or fails at their deadline; `None` where nothing is looked up.
async fn next_answers(
    lookups: &mut Lookups,
    deadlines: &VecDeque<Deadline>,
) -> Option<Result<Answers, Failed>> {
    let deadline = *deadlines.front()?;
    let next = async { lookups.next().await.transpose().map_err(Failed::from) };
    deadline.keep(next).await.transpose()
}

/// Sends answers, and those after them that are known already.
async fn deliver(
    conversation: &mut Conversation,
    answers: Result<Answers, Failed>,
    lookups: &mut Lookups,
    pipeline: &mut Pipeline,
) -> Result<(), End> {
    let mut next = Some(answers);
    while let Some(answers) = next {
        let answers = answers?;
        pipeline.weight -= answers.weight;
        pipeline.deadlines.pop_front();
        conversation.outbox.append(&answers.replies);
        answers.end?;
        conversation.outbox.send_if_many().await?;
        next = lookups.next().now_or_never().flatten().map(|answers| answers.map_err(Failed::from));
    }
    conversation.outbox.send().await
}

/// Takes the lines that have arrived; `None` where there is none to be answered.
async fn take_batch(
    conversation: &mut Conversation,
    mode: StreamMode,
    Pipeline { intake, deadlines, .. }: &mut Pipeline,
) -> Result<Option<OwnedBatch>, End> {
    let framing = conversation.outbox.framing();
    let block = match conversation.outbox.lines().complete() {
        Ok(block) => block,
        Err(error) => {
            *intake = Intake::Fault(error.into());
            return Ok(None);
        }
    };
    if block.is_empty() {
        return Ok(None);
    }
    let deadline = Deadline::starting_now();
    let Batch { lines, bytes, stop } = Batch::read(block, framing);
    let (text, work) = (lines.join("\n"), lines.len());
    conversation.outbox.lines().consume(bytes);
    let mut is_begun_again = false;
    conversation.turn.pass(work).await;
    match stop {
        Stop::Later => {}
        Stop::End => match take_beginning(conversation, mode) {
            true => is_begun_again = true,
            false => *intake = Intake::End,
        },
        Stop::Refused(refused) => *intake = Intake::Fault(refused.into()),
    }
    // A user may have lost the permission since the switch.
    let permitted = conversation.require(mode.command().access());
    // Replies to earlier batches wait for this.
    if let Err(fault) = deadlines.front().unwrap_or(&deadline).keep(permitted).await {
        *intake = Intake::Fault(fault);
        return Ok(None);
    }
    let batch = OwnedBatch { text, weight: bytes + BATCH_OVERHEAD_BYTES, deadline, is_begun_again };
    Ok((!batch.text.is_empty() || is_begun_again).then_some(batch))
}

/// Takes the request that begins the same mode again, if it has arrived. A server that has this one for its
/// upstream ends the mode after each batch, and must not wait for a round trip of ours each time.
fn take_beginning(conversation: &mut Conversation, mode: StreamMode) -> bool {
    let received = conversation.outbox.lines();
    let Ok(block) = received.complete() else { return false };
    let Some(end) = memchr::memchr(b'\n', block) else { return false };
    let request = std::str::from_utf8(&block[..end]).ok().and_then(|line| Request::parse(line).ok());
    let is_same = request.flatten().is_some_and(|request| request.command() == mode.command());
    if is_same {
        received.consume(end + 1);
    }
    is_same
}

async fn look_up(shared: Arc<Shared>, mode: StreamMode, batch: OwnedBatch) -> Answers {
    let started = Instant::now();
    let lines: Vec<&str> = batch.text.split('\n').filter(|line| !line.is_empty()).collect();
    let mut replies = Vec::new();
    let end = answer_lines(mode, &shared, &lines, &mut replies).await;
    if batch.is_begun_again && end.is_ok() {
        replies.extend_from_slice(BEGUN_AGAIN);
    }
    shared.statistics.record(lines.len(), started.elapsed());
    Answers { weight: batch.weight, replies, end }
}
