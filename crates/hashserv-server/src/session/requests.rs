//! Normal mode: requests and replies in JSON.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use hashserv_protocol::reply::Reply;
use hashserv_protocol::stream::{self, StreamMode};
use hashserv_protocol::{Command, MessageReader, Request};
use tokio::sync::watch;

use super::conversation::Conversation;
use super::deadline::Deadline;
use super::end::End;
use super::pending::{Lookup, Pending};
use super::stream::serve_stream;
use super::turn::WORK_PER_MESSAGE;
use crate::commands::exchange::Exchange;
use crate::commands::report::read_report;
use crate::commands::{Handler, Handling, answer, check_offered, is_answered_at_once, waits_for_turn};
use crate::large_messages::{check_length, is_large};
use crate::refusal::Refused;

/// Size of a message's chunk, in bytes, below which it costs more than it carries.
const SMALL_CHUNK_BYTES: usize = 64;

/// Serves requests until the session ends.
pub(super) async fn serve_requests(conversation: &mut Conversation) -> End {
    let framing = conversation.outbox.framing();
    let messages = MessageReader::new(framing, conversation.shared.limits.message);
    Requests { conversation, messages, pending: Pending::new() }.serve().await
}

/// A session in normal mode.
struct Requests<'a> {
    conversation: &'a mut Conversation,
    messages: MessageReader,
    pending: Pending,
}

/// Mode of the session after a request.
enum Next {
    Request,
    Stream(StreamMode),
}

impl Requests<'_> {
    async fn serve(mut self) -> End {
        loop {
            let end = match self.next_request().await {
                Ok(Next::Request) => continue,
                Ok(Next::Stream(mode)) => match serve_stream(self.conversation, mode).await {
                    Ok(()) => continue,
                    Err(end) => end,
                },
                Err(end) => end,
            };
            return self.end(end).await;
        }
    }

    /// Answers what came before the end.
    async fn end(&mut self, end: End) -> End {
        if matches!(end, End::Disconnected(_) | End::Stalled) {
            return end;
        }
        let last = async {
            self.settle().await?;
            self.conversation.outbox.send().await
        };
        last.await.err().unwrap_or(end)
    }

    /// Answers the next message, or waits for more to arrive. Replies are sent once no further message is at hand.
    async fn next_request(&mut self) -> Result<Next, End> {
        match self.take_message().await? {
            Some(text) if is_large(&text) => self.answer_large(text).await,
            Some(text) => match Request::parse(&text).map_err(Refused::from)? {
                Some(request) => self.answer(request).await,
                None => Err(End::Quiet),
            },
            None => {
                self.settle().await?;
                self.conversation.outbox.send_and_receive().await?;
                Ok(Next::Request)
            }
        }
    }

    async fn take_message(&mut self) -> Result<Option<String>, Refused> {
        let Conversation { outbox, turn, .. } = &mut *self.conversation;
        while let Some(line) = outbox.lines().next_raw_line()? {
            let is_small = line.len() < SMALL_CHUNK_BYTES;
            let text = self.messages.line(line)?.map(Cow::into_owned);
            if text.is_none() && is_small {
                outbox.charge_for_piece();
            }
            turn.pass(WORK_PER_MESSAGE).await;
            if text.is_some() {
                return Ok(text);
            }
        }
        Ok(None)
    }

    /// Answers a message that takes long to read.
    async fn answer_large(&mut self, text: String) -> Result<Next, End> {
        check_length(&text)?;
        let large_messages = self.conversation.shared.large_messages.clone();
        let deadline = Deadline::starting_now();
        let parse = move || Ok(Request::parse(&text)?.map(|request| request.to_owned_request()));
        let Some(request) = deadline.keep(large_messages.read(parse)).await? else { return Err(End::Quiet) };
        let command = request.as_request().command();
        if !matches!(Handling::of(command), Handling::Report) {
            return self.answer(request.as_request()).await;
        }
        self.pending.answer_lookups(self.conversation).await?;
        let deadline = self.permit_report(command, deadline).await?;
        let caller = self.conversation.caller.clone();
        let read = large_messages.read(move || read_report(&request.as_request(), &caller));
        let report = deadline.keep(read).await?;
        self.pending.add_report(report, self.conversation).await?;
        Ok(Next::Request)
    }

    async fn answer(&mut self, request: Request<'_>) -> Result<Next, End> {
        let started = Instant::now();
        let mut paused = Duration::ZERO;
        let next = match Handling::of(request.command()) {
            Handling::Report => return self.take_report(&request).await,
            Handling::Lookup(handler) if self.conversation.shared.has_upstream() => {
                return self.take_lookup(&request, handler).await;
            }
            Handling::Lookup(handler) | Handling::Single(handler) => {
                self.settle().await?;
                self.handle(request, handler, &mut paused).await
            }
            Handling::Stream(mode) => {
                self.settle().await?;
                self.switch(mode).await
            }
        };
        let Conversation { shared, outbox, .. } = &mut *self.conversation;
        if !matches!(next, Err(End::Disconnected(_) | End::Stalled)) {
            shared.statistics.record(1, started.elapsed().saturating_sub(paused));
        }
        outbox.send_if_many().await?;
        next
    }

    /// Answers the reports or look-ups that wait for no further ones.
    async fn settle(&mut self) -> Result<(), End> {
        self.pending.settle(self.conversation).await
    }

    /// Reads a report, which is recorded together with those that follow it.
    async fn take_report(&mut self, request: &Request<'_>) -> Result<Next, End> {
        self.pending.answer_lookups(self.conversation).await?;
        self.permit_report(request.command(), Deadline::starting_now()).await?;
        let report = read_report(request, &self.conversation.caller)?;
        self.pending.add_report(report, self.conversation).await?;
        Ok(Next::Request)
    }

    /// Checks the permissions for a report. Returns its deadline, which is that of the first of those that it is
    /// recorded with.
    async fn permit_report(&mut self, command: Command, taken_up: Deadline) -> Result<Deadline, End> {
        let deadline = self.pending.report_deadline(taken_up);
        deadline.keep(self.conversation.require(command.access())).await?;
        Ok(deadline)
    }

    /// Keeps a look-up, which waits for the upstream together with those that follow it.
    async fn take_lookup(&mut self, request: &Request<'_>, handler: Handler) -> Result<Next, End> {
        self.pending.record_reports(self.conversation).await?;
        let lookup = Lookup { request: request.to_owned_request(), handler };
        self.pending.add_lookup(lookup, self.conversation).await?;
        Ok(Next::Request)
    }

    /// Switches to a stream mode.
    async fn switch(&mut self, mode: StreamMode) -> Result<Next, End> {
        self.prepare(mode.command()).await?;
        let permitted = self.conversation.require(mode.command().access());
        Deadline::starting_now().keep(permitted).await?;
        self.conversation.outbox.reply(&Reply::Switched(stream::OK))?;
        Ok(Next::Stream(mode))
    }

    /// Answers a request; sets `paused` to the time for which its answer was held back on purpose.
    async fn handle(
        &mut self,
        request: Request<'_>,
        handler: Handler,
        paused: &mut Duration,
    ) -> Result<Next, End> {
        self.prepare(request.command()).await?;
        let Conversation { shared, outbox, caller, .. } = &mut *self.conversation;
        let waits = waits_for_turn(request.command()).then(|| watch::Sender::new(false));
        let waiting = waits.as_ref().map(watch::Sender::subscribe);
        let mut exchange = Exchange::new(shared, caller, request, waits.as_ref());
        let deadline = Deadline::for_command(exchange.request.command());
        let answer = deadline.keep(answer(&mut exchange, handler));
        let reply = match waiting {
            None => answer.await,
            Some(waiting) => tokio::select! {
                biased;
                reply = answer => reply,
                // Its turn goes to the next.
                end = outbox.until_left(waiting) => return Err(end),
            },
        };
        *paused = exchange.paused;
        outbox.reply(&reply?)?;
        Ok(Next::Request)
    }

    /// Refuses a command that is not offered, and sends earlier replies where the next one takes time.
    async fn prepare(&mut self, command: Command) -> Result<(), End> {
        check_offered(command, self.conversation.shared.service.is_read_only())?;
        if is_answered_at_once(command) { Ok(()) } else { self.conversation.outbox.send().await }
    }
}
