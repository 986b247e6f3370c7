//! One connection to the upstream, shared by all who have questions of its kind.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hashserv_client::{Client, ClientError, ClientOptions, Target};
use hashserv_protocol::Address;
use hashserv_service::{RateLimitedWarning, Unavailable};
use hashserv_transport::Dialer;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::breaker::Breaker;
use super::failure::{Failure, describe, shorten};
use super::flights::{Ask, Flights};
use super::modes::Mode;

/// How many who ask may wait for the connection to take their questions.
const MAX_QUEUED: usize = 1024;

/// How many questions may be under way before no further ones are taken.
const MAX_UNDER_WAY: usize = 65_536;

/// How many questions are put into one write at most.
const MAX_WRITE: usize = 4096;

/// How often a lost connection is dialled anew before that counts as a failure, while questions wait and
/// within the time that a question may take.
const MAX_LOSSES: u32 = 3;

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
    pub(super) closing: CancellationToken,
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

    /// How long to wait before a probe, if it is this lane that probes.
    fn failed(&self, lane: &'static str, Failure { error, is_outage }: &Failure) -> Option<Duration> {
        if !is_outage {
            self.shared.breaker.reached(lane);
            return self.own.failed(lane, error);
        }
        let pause = self.shared.breaker.failed(lane, error);
        if self.own.is_open() { pause.max(self.own.failed(lane, error)) } else { pause }
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
            unanswerable: RateLimitedWarning::default(),
            breakers: breakers.clone(),
            shared,
        };
        tokio::spawn(driver.run());
        Lane { queue, breakers }
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

/// Connections that were lost lately while questions were waiting.
#[derive(Default)]
struct Losses {
    count: u32,
    last: Option<Instant>,
}

impl Losses {
    /// Counts a loss; `false` where there were too many within `window`.
    fn is_bearable(&mut self, window: Duration) -> bool {
        if self.last.is_some_and(|last| last.elapsed() > window) {
            self.count = 0;
        }
        self.last = Some(Instant::now());
        self.count += 1;
        self.count <= MAX_LOSSES
    }
}

/// The task behind a lane.
struct Driver<M: Mode> {
    queue: mpsc::Receiver<Ask<M>>,
    flights: Flights<M>,
    losses: Losses,
    /// The question that waited for the next reply when a connection was lost, until there is one.
    suspect: Option<Arc<M::Question>>,
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
                if let Some(pause) = self.breakers.failed(M::NAME, &failure) {
                    self.turn_away(pause).await;
                    self.flights.add_probe();
                }
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
        }
        Ok(())
    }

    /// Whether to go on with another connection, after one was lost or refused. The question that waited when
    /// that happened twice in a row counts as unknown: it may be the one that the upstream cannot answer.
    fn is_bearable(&mut self, error: &ClientError) -> bool {
        let Some(front) = self.flights.unanswered().next().cloned() else {
            return error.is_lost() || matches!(error, ClientError::Refused(_));
        };
        let silent = matches!(error, ClientError::Timeout { .. });
        if silent || !self.losses.is_bearable(self.shared.timeout) {
            return false;
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
            "the upstream {} has no good answer to {}, which counts as unknown: {}",
            self.shared.address,
            shorten(&format!("{front:?}")),
            describe(error)
        ));
        self.flights.skip();
        true
    }

    /// A connection that is logged in, and in its mode. The dialer and the client bound the wait for it.
    async fn open(&self) -> Result<(M::Sender, M::Receiver), ClientError> {
        let target = Target::new(self.shared.dialer.clone(), self.shared.address.clone());
        M::open(&mut Client::new(target, self.shared.client.clone())).await
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
        let mut writing = pin!(write::<M>(to_send, sender));
        let mut replies = Vec::new();
        loop {
            let limit = self.flights.len().max(1);
            let received = M::last_received(&receiver);
            let quiet = self.flights.earliest().map_or(received, |asked| asked.max(received));
            let patience = if self.flights.is_empty() { IDLE } else { self.shared.timeout };
            tokio::select! {
                // What has arrived counts before the time is up.
                biased;
                result = M::receive(&mut receiver, &mut replies, limit) => {
                    self.deliver(&mut replies)?;
                    result?;
                }
                written = &mut writing => return written,
                ask = self.queue.recv(), if self.takes_more() => {
                    let Some(ask) = ask else { return Ok(()) };
                    if !self.is_behind() {
                        self.flights.add(ask, send);
                    }
                }
                () = sleep_until(quiet + patience) => {
                    if M::last_received(&receiver) > received {
                        continue;
                    }
                    let silent = Err(ClientError::Timeout { after: patience });
                    return if self.flights.is_empty() { Ok(()) } else { silent };
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

    fn deliver(&mut self, replies: &mut Vec<M::Reply>) -> Result<(), ClientError> {
        if replies.is_empty() {
            return Ok(());
        }
        for reply in replies.drain(..) {
            self.flights.answer(reply)?;
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

/// Sends questions as they come, those that have gathered in one write.
async fn write<M: Mode>(
    mut unsent: mpsc::UnboundedReceiver<Arc<M::Question>>,
    mut sender: M::Sender,
) -> Result<(), ClientError> {
    let mut questions = Vec::new();
    while unsent.recv_many(&mut questions, MAX_WRITE).await > 0 {
        M::send(&mut sender, &questions).await?;
        questions.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_may_be_lost_now_and_then_but_not_all_the_time() {
        let window = Duration::from_secs(5);
        let mut losses = Losses::default();
        for _ in 0..10 {
            assert!(losses.is_bearable(window));
            tokio::time::advance(window + Duration::from_millis(1)).await;
        }
        let bearable: Vec<bool> = (0..5).map(|_| losses.is_bearable(window)).collect();
        assert_eq!(bearable, [true, true, true, false, false]);
    }
}
