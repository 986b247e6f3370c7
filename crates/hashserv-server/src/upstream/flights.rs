//! Which questions are under way, and who waits for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashserv_client::ClientError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::modes::Mode;

/// Questions that somebody asks together, and where the answers go.
#[derive(Debug)]
pub(super) struct Ask<M: Mode> {
    pub(super) questions: Vec<M::Question>,
    /// When they were asked, from which on their time runs.
    pub(super) asked: Instant,
    /// Dropped where the upstream does not answer.
    pub(super) reply: oneshot::Sender<Vec<M::Answer>>,
}

/// The questions of one connection that have no answer yet.
///
/// Replies come in the order of the questions. A question that several ask is under way once.
#[derive(Debug)]
pub(super) struct Flights<M: Mode> {
    /// In the order in which they were, or are to be, sent.
    order: VecDeque<Arc<M::Question>>,
    flights: HashMap<Arc<M::Question>, Flight>,
    batches: HashMap<u64, Batch<M>>,
    next_batch: u64,
}

/// A question that is under way.
#[derive(Debug)]
struct Flight {
    asked: Instant,
    /// The batches, and the positions in them, that the answer is for.
    places: Vec<(u64, usize)>,
}

/// Answers that are gathered for one who asked.
#[derive(Debug)]
struct Batch<M: Mode> {
    answers: Vec<Option<M::Answer>>,
    missing: usize,
    reply: oneshot::Sender<Vec<M::Answer>>,
}

impl<M: Mode> Flights<M> {
    pub(super) fn new() -> Self {
        Flights { order: VecDeque::new(), flights: HashMap::new(), batches: HashMap::new(), next_batch: 0 }
    }

    /// How many questions have no answer.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// When the earliest question was asked.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.order.front().and_then(|question| self.flights.get(question)).map(|flight| flight.asked)
    }

    /// The questions that have no answer, in order.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Arc<M::Question>> {
        self.order.iter()
    }

    /// Adds questions, and hands those to `send` that were not under way yet.
    pub(super) fn add(&mut self, ask: Ask<M>, mut send: impl FnMut(Arc<M::Question>)) {
        let batch = self.next_batch;
        self.next_batch += 1;
        let count = ask.questions.len();
        for (position, question) in ask.questions.into_iter().enumerate() {
            if let Some(flight) = self.flights.get_mut(&question) {
                flight.places.push((batch, position));
                continue;
            }
            let question = Arc::new(question);
            let flight = Flight { asked: ask.asked, places: vec![(batch, position)] };
            self.flights.insert(question.clone(), flight);
            self.order.push_back(question.clone());
            send(question);
        }
        let answers = std::iter::repeat_with(|| None).take(count).collect();
        self.batches.insert(batch, Batch { answers, missing: count, reply: ask.reply });
    }

    /// Takes the reply to the earliest question, and hands complete batches out.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`] where nothing was asked, or the reply is not one to what was asked.
    pub(super) fn answer(&mut self, reply: M::Reply) -> Result<(), ClientError> {
        let Some(question) = self.order.front() else {
            return Err(ClientError::Protocol("nothing was asked".to_owned()));
        };
        let answer = M::accept(question, reply)?;
        let places = self.flights.remove(question).map(|flight| flight.places).unwrap_or_default();
        self.order.pop_front();
        for (batch, position) in places {
            self.fill(batch, position, answer.clone());
        }
        Ok(())
    }

    /// Tells all who wait that there will be no answer.
    pub(super) fn fail(&mut self) {
        *self = Flights { next_batch: self.next_batch, ..Flights::new() };
    }

    fn fill(&mut self, number: u64, position: usize, answer: M::Answer) {
        let Some(batch) = self.batches.get_mut(&number) else { return };
        batch.answers[position] = Some(answer);
        batch.missing -= 1;
        if batch.missing == 0
            && let Some(batch) = self.batches.remove(&number)
        {
            // Whoever asked may have gone.
            let _ = batch.reply.send(batch.answers.into_iter().flatten().collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::Unihash;

    use super::*;
    use crate::upstream::modes::{ExistsMode, GetMode};

    type Answers = oneshot::Receiver<Vec<Option<Unihash>>>;

    /// Asks, and tells what is to be sent.
    fn ask(flights: &mut Flights<GetMode>, taskhashes: &[&str]) -> (Answers, Vec<String>) {
        let (reply, answers) = oneshot::channel();
        let questions = taskhashes.iter().map(|taskhash| ("m".to_owned(), (*taskhash).to_owned())).collect();
        let mut sent = Vec::new();
        let ask = Ask { questions, asked: Instant::now(), reply };
        flights.add(ask, |question| sent.push(question.1.clone()));
        (answers, sent)
    }

    fn unihash(digit: &str) -> String {
        digit.repeat(64)
    }

    #[tokio::test]
    async fn answers_go_to_who_asked_in_their_order() {
        let mut flights = Flights::new();
        let (mut first, _) = ask(&mut flights, &["1", "2"]);
        let (second, _) = ask(&mut flights, &["3"]);
        flights.answer(unihash("a")).unwrap();
        assert!(first.try_recv().is_err());
        flights.answer(String::new()).unwrap();
        flights.answer(unihash("c")).unwrap();
        assert_eq!(first.await.unwrap(), [Some(Unihash::from([0xaa; 32])), None]);
        assert_eq!(second.await.unwrap(), [Some(Unihash::from([0xcc; 32]))]);
        assert!(flights.is_empty() && flights.flights.is_empty() && flights.batches.is_empty());
    }

    #[tokio::test]
    async fn a_question_is_under_way_once_whoever_asks_it() {
        let mut flights = Flights::new();
        let (first, sent) = ask(&mut flights, &["1", "2", "1"]);
        assert_eq!(sent, ["1", "2"]);
        let (second, sent) = ask(&mut flights, &["2", "3"]);
        assert_eq!(sent, ["3"]);
        for digit in ["a", "b", "c"] {
            flights.answer(unihash(digit)).unwrap();
        }
        let [a, b, c] = [[0xaa; 32], [0xbb; 32], [0xcc; 32]].map(|digest| Some(Unihash::from(digest)));
        assert_eq!(first.await.unwrap(), [a.clone(), b.clone(), a]);
        assert_eq!(second.await.unwrap(), [b, c]);
    }

    #[tokio::test]
    async fn a_question_may_be_asked_again_once_it_is_answered() {
        let mut flights = Flights::new();
        let (_, _) = ask(&mut flights, &["1"]);
        flights.answer(String::new()).unwrap();
        assert_eq!(ask(&mut flights, &["1"]).1, ["1"]);
    }

    #[tokio::test]
    async fn all_who_wait_are_told_of_a_failure() {
        let mut flights = Flights::new();
        let (first, _) = ask(&mut flights, &["1", "2"]);
        flights.answer(unihash("a")).unwrap();
        flights.fail();
        assert!(first.await.is_err());
        assert!(flights.is_empty());
    }

    #[tokio::test]
    async fn a_reply_that_nothing_was_asked_for_is_an_error() {
        let mut flights = Flights::<ExistsMode>::new();
        assert!(matches!(flights.answer(true), Err(ClientError::Protocol(_))));
    }
}
