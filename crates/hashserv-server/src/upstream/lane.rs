//! One connection to the upstream, shared by all who have questions of its kind.

mod draining;
mod losses;
mod writing;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hashserv_client::{Client, ClientError, ClientOptions, Target};
use hashserv_log::RateLimitedWarning;
use hashserv_protocol::Address;
use hashserv_service::{LateAnswers, Unavailable};
use hashserv_transport::Dialer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::breaker::Breaker;
use super::failure::{Failure, describe, shorten};
use super::flights::{Ask, Flights};
use super::modes::Mode;
use super::route::Route;
use draining::Draining;
use losses::Losses;
use writing::{Writing, write};

/// How many who ask may wait for the connection to take their questions.
const MAX_QUEUED: usize = 1024;

/// How many questions may be under way before no further ones are taken.
const MAX_UNDER_WAY: usize = 65_536;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(5 * 60);

/// What all lanes of an upstream share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dialer: Arc<Dialer>,
    pub(super) address: Address,
    /// Open while the upstream fails as a whole.
    pub(super) breaker: Breaker,
    pub(super) client: ClientOptions,
    /// How long whoever asks waits, and how long nothing may arrive while questions wait.
    pub(super) timeout: Duration,
    /// Which servers ask whom.
    pub(super) route: Route,
    /// Takes what comes when nobody waits for it any more.
    pub(super) late: OnceLock<Arc<dyn LateAnswers>>,
    pub(super) closing: CancellationToken,
}

impl Shared {
    fn late(&self) -> Option<&dyn LateAnswers> {
        self.late.get().map(Arc::as_ref)
    }
}

/// Where questions of one kind are asked.
#[derive(Debug)]
pub(super) struct Lane<M: Mode> {
    queue: mpsc::Sender<Ask<M>>,
    breakers: Arc<Breakers>,
}

/// What tells a lane whether to ask.
#[derive(Debug)]
struct Breakers {
    shared: Arc<Shared>,
    /// Open while the upstream fails at questions of this kind.
    own: Breaker,
}

impl Breakers {
    fn is_open(&self) -> bool {
        self.shared.breaker.is_open() || self.own.is_open()
    }

    fn answered(&self, lane: &'static str) {
        self.shared.breaker.answered(lane);
        self.own.answered(lane);
    }

    fn failed(&self, lane: &'static str, Failure { error, is_outage }: &Failure) {
        if !is_outage {
            self.shared.breaker.reached(lane);
            self.own.failed(lane, error);
            return;
        }
        self.shared.breaker.failed(lane, error);
        if self.own.is_open() {
            self.own.failed(lane, error);
        }
    }

    /// Returns how long to wait before a probe, if it is this lane that probes.
    fn pause_before_probe(&self, lane: &'static str) -> Option<Duration> {
        self.shared.breaker.pause_before_probe(lane).max(self.own.pause_before_probe(lane))
    }
}

impl<M: Mode> Lane<M> {
    /// Starts the task that has the connection.
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (queue, asks) = mpsc::channel(MAX_QUEUED);
        let own = Breaker::new(format!("{} ({})", shared.address, M::NAME));
        let breakers = Arc::new(Breakers { shared: shared.clone(), own });
        let driver = Driver {
            queue: asks,
            flights: Flights::new(),
            losses: Losses::default(),
            suspect: None,
            alone: 0,
            generation: 0,
            draining: Draining::default(),
            unanswerable: RateLimitedWarning::default(),
            breakers: breakers.clone(),
            shared,
        };
        tokio::spawn(driver.run());
        Lane { queue, breakers }
    }

    /// Asks a question whose answer is of no interest, so that trouble with the upstream shows.
    pub(super) fn try_out(&self) {
        let (answers, mut receiver) = mpsc::unbounded_channel();
        if self.queue.try_send(Ask { questions: vec![(0, M::probe())], answers }).is_ok() {
            tokio::spawn(async move { receiver.recv().await });
        }
    }

    /// Asks, and waits for the answers for as long as the upstream is given. What it has not answered by then is
    /// unavailable.
    pub(super) async fn ask(&self, questions: Vec<M::Question>) -> Vec<Result<M::Answer, Unavailable>> {
        let mut answers: Vec<_> = std::iter::repeat_with(|| Ok(M::unknown())).take(questions.len()).collect();
        let questions: Vec<_> =
            questions.into_iter().enumerate().filter(|(_, question)| M::is_sendable(question)).collect();
        for (number, _) in &questions {
            answers[*number] = Err(Unavailable);
        }
        if questions.is_empty() || self.breakers.is_open() {
            return answers;
        }
        let gather = async {
            // It never holds more than one answer to each question.
            let (sender, mut receiver) = mpsc::unbounded_channel();
            // Where that fails, the other end was dropped.
            let _ = self.queue.send(Ask { questions, answers: sender }).await;
            while let Some((number, answer)) = receiver.recv().await {
                answers[number] = Ok(answer);
            }
        };
        let _ = timeout(self.breakers.shared.timeout, gather).await;
        answers
    }
}

/// The task behind a lane.
struct Driver<M: Mode> {
    queue: mpsc::Receiver<Ask<M>>,
    flights: Flights<M>,
    losses: Losses,
    /// The question that waited for the next reply when a connection was lost, until there is one.
    suspect: Option<Arc<M::Question>>,
    /// How many of the questions under way are sent alone, since one of them may be to blame for a loss.
    alone: usize,
    /// The version of the route that the connection told the upstream.
    generation: u64,
    /// Read on from connections that were silent for too long.
    draining: Draining,
    unanswerable: RateLimitedWarning,
    breakers: Arc<Breakers>,
    shared: Arc<Shared>,
}

impl<M: Mode> Driver<M> {
    async fn run(mut self) {
        let closing = self.shared.closing.clone();
        // What is dropped then tells all who wait.
        closing.run_until_cancelled(self.drive()).await;
    }

    /// Has questions answered whenever there are some, and the upstream probed after a failure.
    async fn drive(&mut self) {
        loop {
            if self.flights.is_empty() {
                // Asked anew each time: a probe that came to nothing must not be the last.
                if let Some(pause) = self.breakers.pause_before_probe(M::NAME) {
                    self.turn_away(pause).await;
                    self.flights.add_probe();
                    continue;
                }
                let Some(ask) = self.queue.recv().await else { return };
                // It may have been asked just before the upstream failed elsewhere.
                if !self.breakers.is_open() {
                    self.flights.add(ask, drop);
                }
                continue;
            }
            if let Err(failure) = self.work().await {
                self.flights.fail();
                self.losses = Losses::default();
                self.suspect = None;
                self.alone = 0;
                self.breakers.failed(M::NAME, &failure);
            }
        }
    }

    /// Answers questions until nobody has asked any for a while, over several connections if need be.
    async fn work(&mut self) -> Result<(), Failure> {
        while !self.flights.is_empty() {
            let (sender, receiver) = self.open().await.map_err(Failure::opening)?;
            let Err(error) = self.serve(sender, receiver).await else { return Ok(()) };
            if !self.is_bearable(&error) {
                return Err(Failure::asking(error, M::SHORT));
            }
            debug!("the upstream is connected to anew when needed: {}", describe(&error));
            self.flights.drop_unwanted();
            self.alone = self.flights.len();
        }
        Ok(())
    }

    /// Whether to go on with another connection, after one was lost or refused. The question that waited alone
    /// when that happened twice in a row is given up: it may be the one that the upstream cannot answer. Where
    /// the upstream refused it, or answered nonsense, it counts as unknown.
    fn is_bearable(&mut self, error: &ClientError) -> bool {
        let Some(front) = self.flights.unanswered().next().cloned() else {
            return self.is_bearable_idle(error);
        };
        let silent = matches!(error, ClientError::Timeout { .. });
        if silent || !self.losses.is_bearable(self.shared.timeout) {
            return false;
        }
        let stands_alone = M::BATCH == 1 || self.alone > 0 || self.flights.len() == 1;
        if !stands_alone {
            return true;
        }
        if self.suspect.as_ref() != Some(&front) {
            self.suspect = Some(front);
            return true;
        }
        if self.breakers.is_open() {
            // It is a probe, which tells of all questions.
            return false;
        }
        self.unanswerable.log(format_args!(
            "the upstream {} has no good answer to {}, which is answered without it: {}",
            self.shared.address,
            shorten(&format!("{front:?}")),
            describe(error)
        ));
        // A close without a reply is trouble of the upstream, and says nothing about the question.
        if error.is_lost() {
            self.flights.give_up_earliest();
        } else {
            self.flights.skip();
        }
        self.alone = self.alone.saturating_sub(1);
        true
    }

    /// Whether to go on with another connection when there is a question again, after one ended on which none
    /// was open.
    fn is_bearable_idle(&self, error: &ClientError) -> bool {
        if matches!(error, ClientError::Protocol(_)) {
            self.unanswerable.log(format_args!(
                "the upstream {} sent what nobody asked for, and is connected to again: {}",
                self.shared.address,
                describe(error)
            ));
            return true;
        }
        error.is_lost() || matches!(error, ClientError::Refused(_))
    }

    /// A connection that is logged in, and in its mode. The dialer and the client bound the wait for it.
    async fn open(&mut self) -> Result<(M::Sender, M::Receiver), ClientError> {
        let target = Target::new(self.shared.dialer.clone(), self.shared.address.clone());
        // Before what it stands for, so that no change is missed.
        self.generation = self.shared.route.generation();
        let options = ClientOptions { via: self.shared.route.via(), ..self.shared.client.clone() };
        M::open(&mut Client::new(target, options)).await
    }

    /// Uses a connection until it fails, or nobody has needed it for a while.
    async fn serve(&mut self, sender: M::Sender, mut receiver: M::Receiver) -> Result<(), ClientError> {
        // It never holds more than is under way.
        let (unsent, to_send) = mpsc::unbounded_channel();
        let send = |question| {
            // The other end is dropped only when the connection is given up.
            let _ = unsent.send(question);
        };
        self.flights.unanswered().cloned().for_each(send);
        let mut writing: Writing = Box::pin(write::<M>(to_send, sender, self.alone));
        loop {
            let received = M::last_received(&receiver);
            let quiet = self.flights.earliest().map_or(received, |asked| asked.max(received));
            let patience = if self.flights.is_empty() { IDLE } else { self.shared.timeout };
            tokio::select! {
                // What has arrived counts before the time is up.
                biased;
                replies = M::receive(&mut receiver) => self.deliver(replies?)?,
                written = &mut writing => return written,
                ask = self.queue.recv(), if self.takes_more() => {
                    let Some(ask) = ask else { return Ok(()) };
                    if self.generation != self.shared.route.generation() {
                        // The upstream must know for whom it is asked: all is asked on a new connection.
                        self.flights.add(ask, drop);
                        return Ok(());
                    }
                    if !self.is_behind() {
                        self.flights.add(ask, send);
                    }
                }
                () = sleep_until(quiet + patience) => {
                    if M::last_received(&receiver) > received {
                        continue;
                    }
                    if self.flights.is_empty() {
                        return Ok(());
                    }
                    let flights = self.flights.take_unanswered();
                    self.draining.add(self.shared.clone(), flights, receiver, writing, unsent);
                    return Err(ClientError::Timeout { after: patience });
                }
            }
        }
    }

    /// Whether whoever asks now would wait in vain.
    fn is_behind(&self) -> bool {
        self.flights.earliest().is_some_and(|asked| asked.elapsed() > self.shared.timeout)
    }

    /// Whether to look at further questions, if only to turn them away.
    fn takes_more(&self) -> bool {
        self.flights.len() < MAX_UNDER_WAY || self.is_behind()
    }

    fn deliver(&mut self, replies: Vec<M::Reply>) -> Result<(), ClientError> {
        self.alone = self.alone.saturating_sub(replies.len());
        for reply in replies {
            self.flights.answer(reply, self.shared.late())?;
        }
        self.suspect = None;
        self.breakers.answered(M::NAME);
        if self.flights.is_empty() {
            self.losses = Losses::default();
        }
        Ok(())
    }

    /// Waits, and turns those away who asked just before the failure.
    async fn turn_away(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while let Ok(Some(ask)) = timeout_at(end, self.queue.recv()).await {
            drop(ask);
        }
    }
}
