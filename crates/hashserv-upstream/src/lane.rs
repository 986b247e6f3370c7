//! One connection to the upstream, shared by all who have questions of its kind.

pub(crate) mod context;
mod draining;
mod losses;
mod writing;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{Client, ClientError, ClientOptions, Target};
use hashserv_log::RateLimitedWarning;
use hashserv_service::Unavailable;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tracing::debug;

use crate::breaker::Breaker;
use crate::failure::{Failure, describe, shorten};
use crate::in_flight::{Ask, InFlight};
use crate::question_kind::QuestionKind;
use context::LaneContext;
use draining::Draining;
use losses::Losses;
use writing::{Writing, write};

/// Number of calls that may wait for the connection to accept their questions.
const MAX_QUEUED_ASKS: usize = 1024;

/// Number of questions in flight from which on no further ones are accepted.
const MAX_QUESTIONS_UNDER_WAY: usize = 65_536;

/// Time after which an unused connection is closed.
const IDLE_CONNECTION_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Where questions of one kind are asked.
#[derive(Debug)]
pub(crate) struct Lane<K: QuestionKind> {
    queue: mpsc::Sender<Ask<K>>,
    breakers: Arc<Breakers>,
}

/// What tells a lane whether to ask.
#[derive(Debug)]
struct Breakers {
    context: Arc<LaneContext>,
    /// Open while the upstream fails at questions of this kind.
    own: Breaker,
}

impl Breakers {
    fn is_open(&self) -> bool {
        self.context.breaker.is_open() || self.own.is_open()
    }

    fn answered(&self, lane: &'static str) {
        self.context.breaker.answered(lane);
        self.own.answered(lane);
    }

    fn failed(&self, lane: &'static str, Failure { error, is_outage }: &Failure) {
        if !is_outage {
            self.context.breaker.reached(lane);
            self.own.failed(lane, error);
            return;
        }
        self.context.breaker.failed(lane, error);
        if self.own.is_open() {
            self.own.failed(lane, error);
        }
    }

    /// Returns how long to wait before a probe, if it is this lane that probes.
    fn pause_before_probe(&self, lane: &'static str) -> Option<Duration> {
        self.context.breaker.pause_before_probe(lane).max(self.own.pause_before_probe(lane))
    }
}

impl<K: QuestionKind> Lane<K> {
    /// Starts the task that has the connection.
    pub(crate) fn start(context: Arc<LaneContext>) -> Self {
        let (queue, asks) = mpsc::channel(MAX_QUEUED_ASKS);
        let own = Breaker::new(format!("{} ({})", context.address, K::NAME));
        let breakers = Arc::new(Breakers { context: context.clone(), own });
        let driver = Driver {
            queue: asks,
            in_flight: InFlight::new(),
            losses: Losses::default(),
            suspect: None,
            alone: 0,
            generation: 0,
            draining: Draining::default(),
            unanswerable: RateLimitedWarning::default(),
            breakers: breakers.clone(),
            context,
        };
        tokio::spawn(driver.run());
        Lane { queue, breakers }
    }

    /// Asks a question whose answer is of no interest, so that trouble with the upstream shows.
    pub(crate) fn try_out(&self) {
        let (answers, mut receiver) = mpsc::unbounded_channel();
        if self.queue.try_send(Ask { questions: vec![(0, K::probe())], answers }).is_ok() {
            tokio::spawn(async move { receiver.recv().await });
        }
    }

    /// Asks, and waits for the answers for as long as the upstream is given. What it has not answered by then is
    /// unavailable.
    pub(crate) async fn ask(&self, questions: Vec<K::Question>) -> Vec<Result<K::Answer, Unavailable>> {
        let mut answers: Vec<_> = std::iter::repeat_with(|| Ok(K::unknown())).take(questions.len()).collect();
        let questions: Vec<_> =
            questions.into_iter().enumerate().filter(|(_, question)| K::is_sendable(question)).collect();
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
        let _ = timeout(self.breakers.context.timeout, gather).await;
        answers
    }
}

/// The task behind a lane.
struct Driver<K: QuestionKind> {
    queue: mpsc::Receiver<Ask<K>>,
    in_flight: InFlight<K>,
    losses: Losses,
    /// The question that waited for the next reply when a connection was lost, until there is one.
    suspect: Option<Arc<K::Question>>,
    /// How many of the questions under way are sent alone, since one of them may be to blame for a loss.
    alone: usize,
    /// The version of the route that the connection told the upstream.
    generation: u64,
    /// Read on from connections that were silent for too long.
    draining: Draining,
    unanswerable: RateLimitedWarning,
    breakers: Arc<Breakers>,
    context: Arc<LaneContext>,
}

impl<K: QuestionKind> Driver<K> {
    async fn run(mut self) {
        let closing = self.context.closing.clone();
        // What is dropped then tells all who wait.
        closing.run_until_cancelled(self.drive()).await;
    }

    /// Has questions answered whenever there are some, and the upstream probed after a failure.
    async fn drive(&mut self) {
        loop {
            if self.in_flight.is_empty() {
                // Asked anew each time: a probe that came to nothing must not be the last.
                if let Some(pause) = self.breakers.pause_before_probe(K::NAME) {
                    self.turn_away(pause).await;
                    self.in_flight.add_probe();
                    continue;
                }
                let Some(ask) = self.queue.recv().await else { return };
                // It may have been asked just before the upstream failed elsewhere.
                if !self.breakers.is_open() {
                    self.in_flight.add(ask, drop);
                }
                continue;
            }
            if let Err(failure) = self.work().await {
                self.in_flight.fail();
                self.losses = Losses::default();
                self.suspect = None;
                self.alone = 0;
                self.breakers.failed(K::NAME, &failure);
            }
        }
    }

    /// Answers questions until nobody has asked any for a while, over several connections if need be.
    async fn work(&mut self) -> Result<(), Failure> {
        while !self.in_flight.is_empty() {
            let (sender, receiver) = self.open().await.map_err(Failure::opening)?;
            let Err(error) = self.serve(sender, receiver).await else { return Ok(()) };
            if self.absorb_loss(&error).is_break() {
                return Err(Failure::asking(error, K::HAS_SHORT_ANSWERS));
            }
            debug!("the upstream is connected to anew when needed: {}", describe(&error));
            self.in_flight.drop_unwanted();
            self.alone = self.in_flight.len();
        }
        Ok(())
    }

    /// Decides whether to go on with another connection, after one was lost or refused; breaks where the
    /// upstream has failed. Gives the question up that waited alone when that happened twice in a row: it may
    /// be the one that the upstream cannot answer.
    fn absorb_loss(&mut self, error: &ClientError) -> ControlFlow<()> {
        let Some(front) = self.in_flight.unanswered().next().cloned() else {
            return self.absorb_idle_loss(error);
        };
        if matches!(error, ClientError::Timeout { .. }) {
            return ControlFlow::Break(());
        }
        self.losses.record(self.context.timeout);
        if self.losses.are_too_many() {
            return ControlFlow::Break(());
        }
        let stands_alone = K::MAX_BATCH == 1 || self.alone > 0 || self.in_flight.len() == 1;
        if !stands_alone {
            return ControlFlow::Continue(());
        }
        if self.suspect.as_ref() != Some(&front) {
            self.suspect = Some(front);
            return ControlFlow::Continue(());
        }
        if self.breakers.is_open() {
            // It is a probe, which tells of all questions.
            return ControlFlow::Break(());
        }
        self.give_up_suspect(&front, error);
        ControlFlow::Continue(())
    }

    /// Answers the earliest question without the upstream. Where the upstream refused it, or answered nonsense,
    /// it counts as unknown.
    fn give_up_suspect(&mut self, question: &K::Question, error: &ClientError) {
        self.unanswerable.log(format_args!(
            "the upstream {} has no good answer to {}, which is answered without it: {}",
            self.context.address,
            shorten(&format!("{question:?}")),
            describe(error)
        ));
        // A close without a reply is trouble of the upstream, and says nothing about the question.
        if error.is_lost() {
            self.in_flight.give_up_earliest();
        } else {
            self.in_flight.skip();
        }
        self.alone = self.alone.saturating_sub(1);
    }

    /// Decides the same for a connection that ended while no question was open. The next one is opened when
    /// there is a question again.
    fn absorb_idle_loss(&self, error: &ClientError) -> ControlFlow<()> {
        if matches!(error, ClientError::Protocol(_)) {
            self.unanswerable.log(format_args!(
                "the upstream {} sent what nobody asked for, and is connected to again: {}",
                self.context.address,
                describe(error)
            ));
            return ControlFlow::Continue(());
        }
        if error.is_lost() || matches!(error, ClientError::Refused(_)) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// A connection that is logged in, and in its mode. The dialer and the client bound the wait for it.
    async fn open(&mut self) -> Result<(K::Sender, K::Receiver), ClientError> {
        let target = Target::new(self.context.dialer.clone(), self.context.address.clone());
        // Before what it stands for, so that no change is missed.
        self.generation = self.context.route.generation();
        let options = ClientOptions { via: self.context.route.via(), ..self.context.client.clone() };
        K::open(&mut Client::new(target, options)).await
    }

    /// Uses a connection until it fails, or nobody has needed it for a while.
    async fn serve(&mut self, sender: K::Sender, mut receiver: K::Receiver) -> Result<(), ClientError> {
        // It never holds more than is under way.
        let (unsent, to_send) = mpsc::unbounded_channel();
        let send = |question| {
            // The other end is dropped only when the connection is given up.
            let _ = unsent.send(question);
        };
        self.in_flight.unanswered().cloned().for_each(send);
        let mut writing: Writing = Box::pin(write::<K>(to_send, sender, self.alone));
        loop {
            let received = K::last_received(&receiver);
            let quiet = self.in_flight.earliest().map_or(received, |asked| asked.max(received));
            let patience =
                if self.in_flight.is_empty() { IDLE_CONNECTION_LIFETIME } else { self.context.timeout };
            tokio::select! {
                // What has arrived counts before the time is up.
                biased;
                replies = K::receive(&mut receiver) => self.deliver(replies?)?,
                written = &mut writing => return written,
                ask = self.queue.recv(), if self.takes_more() => {
                    let Some(ask) = ask else { return Ok(()) };
                    if self.generation != self.context.route.generation() {
                        // The upstream must know for whom it is asked: all is asked on a new connection.
                        self.in_flight.add(ask, drop);
                        return Ok(());
                    }
                    if !self.is_behind() {
                        self.in_flight.add(ask, send);
                    }
                }
                () = sleep_until(quiet + patience) => {
                    if K::last_received(&receiver) > received {
                        continue;
                    }
                    if self.in_flight.is_empty() {
                        return Ok(());
                    }
                    let in_flight = self.in_flight.take_unanswered();
                    self.draining.add(self.context.clone(), in_flight, receiver, writing, unsent);
                    return Err(ClientError::Timeout { after: patience });
                }
            }
        }
    }

    /// Whether whoever asks now would wait in vain.
    fn is_behind(&self) -> bool {
        self.in_flight.earliest().is_some_and(|asked| asked.elapsed() > self.context.timeout)
    }

    /// Whether to look at further questions, if only to turn them away.
    fn takes_more(&self) -> bool {
        self.in_flight.len() < MAX_QUESTIONS_UNDER_WAY || self.is_behind()
    }

    fn deliver(&mut self, replies: Vec<K::Reply>) -> Result<(), ClientError> {
        self.alone = self.alone.saturating_sub(replies.len());
        for reply in replies {
            self.in_flight.answer(reply, self.context.late())?;
        }
        self.suspect = None;
        self.breakers.answered(K::NAME);
        if self.in_flight.is_empty() {
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
