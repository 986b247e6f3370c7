//! Stream modes: a query a line, a reply a line.

use std::time::Instant;

use hashserv_protocol::stream::{self, StreamMode};

use super::conversation::Conversation;
use super::deadline::Deadline;
use super::end::End;
use super::stream_answers::answer_lines;
use super::stream_batch::{Batch, Stop};
use super::stream_pipelined::serve_pipelined;
use crate::commands::access::check_access;
use crate::refusal::Refused;

/// Serves queries until the client ends the mode. Where clients take any line for a reply, nothing else is
/// ever sent.
///
/// All lines that have arrived are answered together and sent at once; a lone query waits for nothing.
pub(super) async fn serve_stream(conversation: &mut Conversation, mode: StreamMode) -> Result<(), End> {
    let ended = if waits_for_upstream(mode) && conversation.shared.has_upstream() {
        // Boxed, so that sessions without an upstream do not hold the room for it.
        Box::pin(serve_pipelined(conversation, mode)).await
    } else {
        serve_in_turn(conversation, mode).await
    };
    match ended {
        Ok(()) => {
            conversation.outbox.append(stream::OK.as_bytes());
            conversation.outbox.append(b"\n");
            Ok(())
        }
        Err(End::Refused(refused)) if mode.has_bare_replies() => Err(End::RefusedInSilence(refused)),
        Err(end) => Err(end),
    }
}

/// Reports whether queries may have to wait for an upstream.
fn waits_for_upstream(mode: StreamMode) -> bool {
    match mode {
        StreamMode::Get | StreamMode::Exists => true,
        StreamMode::GcMark => false,
    }
}

/// Serves queries, each batch after the one before.
async fn serve_in_turn(conversation: &mut Conversation, mode: StreamMode) -> Result<(), End> {
    loop {
        let started = Instant::now();
        let Conversation { shared, outbox, caller, turn } = &mut *conversation;
        let framing = outbox.framing();
        let (received, replies) = outbox.lines_and_replies();
        let block = received.complete().map_err(Refused::from)?;
        if block.is_empty() {
            outbox.send_and_receive().await?;
            continue;
        }
        let Batch { lines, bytes, stop } = Batch::read(block, framing);
        // A user may have lost the permission since the switch.
        let deadline = Deadline::for_command(mode.command());
        deadline.keep(check_access(shared.service.accounts(), caller, mode.command().access())).await?;
        let answered = deadline.keep(answer_lines(mode, shared, &lines, replies)).await;
        shared.statistics.record(lines.len(), started.elapsed());
        let work = lines.len();
        received.consume(bytes);
        answered?;
        turn.pass(work).await;
        match stop {
            Stop::Later => outbox.send_if_many().await?,
            Stop::End => return Ok(()),
            Stop::Refused(refused) => return Err(refused.into()),
        }
    }
}
