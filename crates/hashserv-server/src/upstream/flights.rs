//! Which questions are under way, and who waits for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashserv_client::ClientError;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::modes::Mode;

/// Questions that somebody asks together, and where the answers go.
#[derive(Debug)]
pub(super) struct Ask<M: Mode> {
    /// With numbers to tell the answers apart.
    pub(super) questions: Vec<(usize, M::Question)>,
    /// Takes one answer to each at most. Dropped when no further one comes, closed when nobody waits any more.
    pub(super) answers: mpsc::UnboundedSender<(usize, M::Answer)>,
}

/// The questions of one connection that have no answer yet.
///
/// Replies come in the order of the questions. A question that several ask is under way once.
#[derive(Debug)]
pub(super) struct Flights<M: Mode> {
    /// In the order in which they were, or are to be, sent; with the time from which on they wait.
    order: VecDeque<(Arc<M::Question>, Instant)>,
    waiting: HashMap<Arc<M::Question>, Vec<Waiting<M>>>,
}

/// One who waits for an answer.
#[derive(Debug)]
struct Waiting<M: Mode> {
    number: usize,
    answers: mpsc::UnboundedSender<(usize, M::Answer)>,
}

impl<M: Mode> Flights<M> {
    pub(super) fn new() -> Self {
        Flights { order: VecDeque::new(), waiting: HashMap::new() }
    }

    /// How many questions have no answer.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The questions that have no answer, in order.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = &Arc<M::Question>> {
        self.order.iter().map(|(question, _)| question)
    }

    /// From when on the earliest question has waited.
    pub(super) fn earliest(&self) -> Option<Instant> {
        self.order.front().map(|(_, since)| *since)
    }

    /// Adds questions, unless nobody waits for the answers any more, and hands those to `send` that were not
    /// under way yet.
    pub(super) fn add(&mut self, ask: Ask<M>, mut send: impl FnMut(Arc<M::Question>)) {
        if ask.answers.is_closed() {
            return;
        }
        for (number, question) in ask.questions {
            let waiting = Waiting { number, answers: ask.answers.clone() };
            if let Some(others) = self.waiting.get_mut(&question) {
                others.push(waiting);
                continue;
            }
            let question = Arc::new(question);
            self.waiting.insert(question.clone(), vec![waiting]);
            self.order.push_back((question.clone(), Instant::now()));
            send(question);
        }
    }

    /// Adds a question that nobody waits for, and that is asked nevertheless.
    pub(super) fn add_probe(&mut self) {
        let question = Arc::new(M::probe());
        self.waiting.insert(question.clone(), Vec::new());
        self.order.push_back((question, Instant::now()));
    }

    /// Takes the reply to the earliest question, and hands the answer out.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`] where nothing was asked, or the reply is not one to what was asked.
    pub(super) fn answer(&mut self, reply: M::Reply) -> Result<(), ClientError> {
        let Some((question, _)) = self.order.front() else {
            return Err(ClientError::Protocol("nothing was asked".to_owned()));
        };
        let answer = M::accept(question, reply)?;
        self.hand_out(&answer);
        Ok(())
    }

    /// Counts the earliest question as unknown upstream.
    pub(super) fn skip(&mut self) {
        self.hand_out(&M::unknown());
    }

    /// Tells all who wait that there will be no answer.
    pub(super) fn fail(&mut self) {
        *self = Flights::new();
    }

    /// Drops the questions that nobody waits for any more.
    pub(super) fn drop_unwanted(&mut self) {
        let is_wanted = |waiting: &Waiting<M>| !waiting.answers.is_closed();
        self.waiting.retain(|_, waiting| waiting.is_empty() || waiting.iter().any(is_wanted));
        self.order.retain(|(question, _)| self.waiting.contains_key(question));
    }

    /// Gives the answer to all who wait for the earliest question.
    fn hand_out(&mut self, answer: &M::Answer) {
        let Some((question, _)) = self.order.pop_front() else { return };
        for waiting in self.waiting.remove(&question).unwrap_or_default() {
            // Whoever asked may have gone.
            let _ = waiting.answers.send((waiting.number, answer.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::Unihash;

    use super::*;
    use crate::upstream::modes::{ExistsMode, GetMode};

    type Answers = mpsc::UnboundedReceiver<(usize, Option<Unihash>)>;

    /// Asks, and tells what is to be sent.
    fn ask(flights: &mut Flights<GetMode>, taskhashes: &[&str]) -> (Answers, Vec<String>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let questions = taskhashes.iter().map(|taskhash| ("m".to_owned(), (*taskhash).to_owned()));
        let questions = questions.enumerate().collect();
        let mut sent = Vec::new();
        flights.add(Ask { questions, answers: sender }, |question| sent.push(question.1.clone()));
        (answers, sent)
    }

    fn unihash(digit: &str) -> String {
        digit.repeat(64)
    }

    /// What has been answered, by number, and whether that is all.
    fn answered(answers: &mut Answers) -> (Vec<(usize, Option<Unihash>)>, bool) {
        let answered = std::iter::from_fn(|| answers.try_recv().ok()).collect();
        (answered, answers.is_closed())
    }

    #[test]
    fn answers_go_to_who_asked_as_they_come() {
        let mut flights = Flights::new();
        let (mut first, _) = ask(&mut flights, &["1", "2"]);
        let (mut second, _) = ask(&mut flights, &["3"]);
        flights.answer(unihash("a")).unwrap();
        let a = Some(Unihash::from([0xaa; 32]));
        assert_eq!(answered(&mut first), (vec![(0, a)], false));
        flights.answer(String::new()).unwrap();
        flights.answer(unihash("c")).unwrap();
        let c = Some(Unihash::from([0xcc; 32]));
        assert_eq!(answered(&mut first), (vec![(1, None)], true));
        assert_eq!(answered(&mut second), (vec![(0, c)], true));
        assert!(flights.is_empty() && flights.waiting.is_empty());
    }

    #[test]
    fn a_question_is_under_way_once_whoever_asks_it() {
        let mut flights = Flights::new();
        let (mut first, sent) = ask(&mut flights, &["1", "2", "1"]);
        assert_eq!(sent, ["1", "2"]);
        let (mut second, sent) = ask(&mut flights, &["2", "3"]);
        assert_eq!(sent, ["3"]);
        for digit in ["a", "b", "c"] {
            flights.answer(unihash(digit)).unwrap();
        }
        let [a, b, c] = [[0xaa; 32], [0xbb; 32], [0xcc; 32]].map(|digest| Some(Unihash::from(digest)));
        assert_eq!(answered(&mut first).0, [(0, a.clone()), (2, a), (1, b.clone())]);
        assert_eq!(answered(&mut second).0, [(0, b), (1, c)]);
    }

    #[test]
    fn a_question_may_be_asked_again_once_it_is_answered() {
        let mut flights = Flights::new();
        let (_answers, _) = ask(&mut flights, &["1"]);
        flights.answer(String::new()).unwrap();
        assert_eq!(ask(&mut flights, &["1"]).1, ["1"]);
    }

    #[test]
    fn all_who_wait_are_told_of_a_failure_and_have_what_was_answered() {
        let mut flights = Flights::new();
        let (mut first, _) = ask(&mut flights, &["1", "2"]);
        flights.answer(String::new()).unwrap();
        flights.fail();
        assert_eq!(answered(&mut first), (vec![(0, None)], true));
        assert!(flights.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked() {
        let mut flights = Flights::new();
        let (gone, _) = ask(&mut flights, &["1", "2"]);
        let (_stays, _) = ask(&mut flights, &["2", "3"]);
        flights.add_probe();
        drop(gone);
        flights.drop_unwanted();
        let left: Vec<_> = flights.unanswered().map(|question| question.1.as_str()).collect();
        assert_eq!(left, ["2", "3", &GetMode::probe().1]);
        let (answers, closed) = mpsc::unbounded_channel();
        drop(closed);
        let questions = vec![(0, ("m".to_owned(), "4".to_owned()))];
        flights.add(Ask { questions, answers }, |question| panic!("{question:?}"));
    }

    #[test]
    fn a_reply_that_nothing_was_asked_for_is_an_error() {
        let mut flights = Flights::<ExistsMode>::new();
        assert!(matches!(flights.answer(true), Err(ClientError::Protocol(_))));
    }
}
