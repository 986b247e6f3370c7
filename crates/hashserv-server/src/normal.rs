//! Normal mode: requests and replies in JSON.

pub(crate) mod ahead;

use std::borrow::Cow;
use std::time::{Duration, Instant};

use hashserv_protocol::{Command, Request, encode_message, stream};
use hashserv_service::Permissions;
use tokio::sync::watch;

use crate::dispatch::{dispatch, is_offered, is_quick, waits_for_its_turn};
use crate::fairness::MESSAGE_WORK;
use crate::handlers::Exchange;
use crate::handlers::report::read_report;
use crate::refusal::{Failed, Fault, Refused};
use crate::session::{End, Session};
use crate::stream::Mode;

/// Chunks of a message below this size cost more than they carry.
const SMALL_CHUNK: usize = 64;

/// What follows a request.
enum Next {
    Request,
    Stream(Mode),
}

impl Session {
    /// Serves requests until the session ends.
    pub(crate) async fn normal_mode(&mut self) -> End {
        loop {
            let end = match self.next_request().await {
                Ok(Next::Request) => continue,
                Ok(Next::Stream(mode)) => match self.stream_mode(mode).await {
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
            self.send().await
        };
        last.await.err().unwrap_or(end)
    }

    /// Has the next message answered, or waits for more to arrive. Replies are sent once no further message
    /// is at hand.
    async fn next_request(&mut self) -> Result<Next, End> {
        match self.take_message().await? {
            Some(text) => self.answer(&text).await,
            None => {
                self.settle().await?;
                self.send_and_receive().await?;
                Ok(Next::Request)
            }
        }
    }

    async fn take_message(&mut self) -> Result<Option<String>, Refused> {
        while let Some(line) = self.connection.lines().next_raw_line()? {
            let is_small = line.len() < SMALL_CHUNK;
            let text = self.messages.line(line)?.map(Cow::into_owned);
            if text.is_none() && is_small {
                self.connection.charge(1);
            }
            self.turn.pass(MESSAGE_WORK).await;
            if text.is_some() {
                return Ok(text);
            }
        }
        Ok(None)
    }

    async fn answer(&mut self, text: &str) -> Result<Next, End> {
        let started = Instant::now();
        let Some(request) = Request::parse(text).map_err(Refused::from)? else { return Err(End::Quiet) };
        match request.command() {
            Command::Report => {
                self.answer_lookups().await?;
                self.take_report(&request).await?;
                return Ok(Next::Request);
            }
            Command::Get | Command::GetOuthash if self.shared.service.equivalence().has_upstream() => {
                self.record_reports().await?;
                self.take_lookup(text).await?;
                return Ok(Next::Request);
            }
            _ => self.settle().await?,
        }
        let mut paused = Duration::ZERO;
        let next = self.answer_request(request, &mut paused).await;
        if !matches!(next, Err(End::Disconnected(_) | End::Stalled)) {
            self.shared.statistics.record(1, started.elapsed().saturating_sub(paused));
        }
        self.send_if_many().await?;
        next
    }

    /// Answers the reports or look-ups that wait for no further ones.
    async fn settle(&mut self) -> Result<(), End> {
        self.record_reports().await?;
        self.answer_lookups().await
    }

    /// Answers a request at once; adds to `paused` how long its answer was held back on purpose.
    async fn answer_request(&mut self, request: Request<'_>, paused: &mut Duration) -> Result<Next, End> {
        let command = request.command();
        if !is_offered(command, self.shared.service.is_read_only()) {
            let message = format!("Unknown command '{}': this server is read-only", command.name());
            return Err(Refused::new(message).into());
        }
        if !is_quick(command) {
            self.send().await?;
        }
        if let Some(mode) = Mode::of(command) {
            self.require(mode.permissions()).await?;
            self.reply(&stream::OK)?;
            return Ok(Next::Stream(mode));
        }
        self.handle(request, paused).await?;
        Ok(Next::Request)
    }

    async fn handle(&mut self, request: Request<'_>, paused: &mut Duration) -> Result<(), End> {
        let framing = self.connection.framing();
        let waits = waits_for_its_turn(request.command()).then(|| watch::Sender::new(false));
        let waiting = waits.as_ref().map(watch::Sender::subscribe);
        let mut exchange = Exchange::new(&self.shared, &mut self.caller, request, waits.as_ref());
        // Boxed, since idle sessions shall not hold the room that the largest handler needs.
        let handled = Box::pin(dispatch(&mut exchange, framing, &mut self.out));
        let handled = match waiting {
            None => handled.await,
            Some(waiting) => tokio::select! {
                biased;
                handled = handled => handled,
                // Its turn goes to the next.
                end = Session::until_left(&mut self.connection, waiting) => return Err(end),
            },
        };
        *paused = exchange.paused;
        Ok(handled?)
    }

    /// Takes a report. It is recorded as soon as no further one is at hand.
    async fn take_report(&mut self, request: &Request<'_>) -> Result<(), End> {
        self.require(Permissions::READ).await?;
        self.reports.add(read_report(request, &self.caller)?);
        if self.reports.is_full() {
            self.record_reports().await?;
            self.send_if_many().await?;
        }
        Ok(())
    }

    async fn record_reports(&mut self) -> Result<(), End> {
        if self.reports.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let framing = self.connection.framing();
        let recorded = self.reports.record(&self.shared.service, &mut self.caller, framing, &mut self.out);
        let count = recorded.await?;
        self.shared.statistics.record(count, started.elapsed());
        Ok(())
    }

    /// Makes sure that the caller has the permissions.
    pub(crate) async fn require(&mut self, needed: Permissions) -> Result<(), Fault> {
        Ok(self.shared.service.accounts().require(&mut self.caller, needed).await?)
    }

    fn reply(&mut self, value: &impl serde::Serialize) -> Result<(), Failed> {
        Ok(encode_message(value, self.connection.framing(), &mut self.out)?)
    }
}
