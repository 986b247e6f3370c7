//! Which questions are under way, and who waits for them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashserv_client::ClientError;
use hashserv_service::LateAnswers;
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
    waiting: HashMap<Arc<M::Question>, Waiters<M>>,
}

/// Those who wait for the answer to one question.
#[derive(Debug)]
struct Waiters<M: Mode> {
    /// Whether the question is asked though nobody waits: the breaker does.
    is_probe: bool,
    callers: Vec<Waiting<M>>,
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
            if let Some(waiters) = self.waiting.get_mut(&question) {
                waiters.callers.push(waiting);
                continue;
            }
            let question = Arc::new(question);
            let waiters = Waiters { is_probe: false, callers: vec![waiting] };
            self.waiting.insert(question.clone(), waiters);
            self.order.push_back((question.clone(), Instant::now()));
            send(question);
        }
    }

    /// Adds a question that is asked whether anybody waits for it or not.
    pub(super) fn add_probe(&mut self) {
        let question = Arc::new(M::probe());
        if let Some(waiters) = self.waiting.get_mut(&question) {
            waiters.is_probe = true;
            return;
        }
        self.waiting.insert(question.clone(), Waiters { is_probe: true, callers: Vec::new() });
        self.order.push_back((question, Instant::now()));
    }

    /// Takes the reply to the earliest question, and hands the answer out. Where nobody waits for it any more it
    /// is kept, so that whoever asks next finds it.
    ///
    /// # Errors
    ///
    /// [`ClientError::Protocol`] where nothing was asked, or the reply is not one to what was asked.
    pub(super) fn answer(
        &mut self,
        reply: M::Reply,
        late: Option<&dyn LateAnswers>,
    ) -> Result<(), ClientError> {
        let Some((question, _)) = self.order.front() else {
            return Err(ClientError::Protocol("nothing was asked".to_owned()));
        };
        let answer = M::accept(question, reply)?;
        let question = question.clone();
        if !self.hand_out(&answer)
            && let Some(late) = late
        {
            M::keep_late(&question, &answer, late);
        }
        Ok(())
    }

    /// Counts the earliest question as unknown upstream.
    pub(super) fn skip(&mut self) {
        self.hand_out(&M::unknown());
    }

    /// Gives the earliest question up: whoever waits for it is told that the upstream is unavailable.
    pub(super) fn give_up_earliest(&mut self) {
        if let Some((question, _)) = self.order.pop_front() {
            self.waiting.remove(&question);
        }
    }

    /// Takes all questions that have no answer, and tells all who wait that there will be none in time.
    pub(super) fn take_unanswered(&mut self) -> Self {
        let mut taken = std::mem::replace(self, Flights::new());
        taken.waiting.values_mut().for_each(|waiters| waiters.callers.clear());
        taken
    }

    /// Tells all who wait that there will be no answer.
    pub(super) fn fail(&mut self) {
        *self = Flights::new();
    }

    /// Drops the questions that nobody waits for any more.
    pub(super) fn drop_unwanted(&mut self) {
        let is_wanted = |waiting: &Waiting<M>| !waiting.answers.is_closed();
        self.waiting.retain(|_, waiters| waiters.is_probe || waiters.callers.iter().any(is_wanted));
        self.order.retain(|(question, _)| self.waiting.contains_key(question));
    }

    /// Gives the answer to all who wait for the earliest question; returns whether anybody does.
    fn hand_out(&mut self, answer: &M::Answer) -> bool {
        let Some((question, _)) = self.order.pop_front() else { return false };
        let mut is_wanted = false;
        for waiting in self.waiting.remove(&question).map(|waiters| waiters.callers).unwrap_or_default() {
            is_wanted |= waiting.answers.send((waiting.number, answer.clone())).is_ok();
        }
        is_wanted
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
        flights.answer(unihash("a"), None).unwrap();
        let a = Some(Unihash::from([0xaa; 32]));
        assert_eq!(answered(&mut first), (vec![(0, a)], false));
        flights.answer(String::new(), None).unwrap();
        flights.answer(unihash("c"), None).unwrap();
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
            flights.answer(unihash(digit), None).unwrap();
        }
        let [a, b, c] = [[0xaa; 32], [0xbb; 32], [0xcc; 32]].map(|digest| Some(Unihash::from(digest)));
        assert_eq!(answered(&mut first).0, [(0, a.clone()), (2, a), (1, b.clone())]);
        assert_eq!(answered(&mut second).0, [(0, b), (1, c)]);
    }

    #[test]
    fn a_question_may_be_asked_again_once_it_is_answered() {
        let mut flights = Flights::new();
        let (_answers, _) = ask(&mut flights, &["1"]);
        flights.answer(String::new(), None).unwrap();
        assert_eq!(ask(&mut flights, &["1"]).1, ["1"]);
    }

    #[test]
    fn all_who_wait_are_told_of_a_failure_and_have_what_was_answered() {
        let mut flights = Flights::new();
        let (mut first, _) = ask(&mut flights, &["1", "2"]);
        flights.answer(String::new(), None).unwrap();
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
    fn probe_that_a_client_asks_too_is_asked_when_the_client_has_gone() {
        let probe = GetMode::probe();
        let mut flights = Flights::<GetMode>::new();
        flights.add_probe();
        let (answers, client) = mpsc::unbounded_channel();
        flights.add(Ask { questions: vec![(0, probe.clone())], answers }, |_| panic!("it is asked already"));
        drop(client);
        flights.drop_unwanted();
        assert_eq!(flights.len(), 1);
        let (answers, _client) = mpsc::unbounded_channel();
        let mut flights = Flights::<GetMode>::new();
        flights.add(Ask { questions: vec![(0, probe)], answers }, drop);
        flights.add_probe();
        assert_eq!(flights.len(), 1);
    }

    #[test]
    fn a_reply_that_nothing_was_asked_for_is_an_error() {
        let mut flights = Flights::<ExistsMode>::new();
        assert!(matches!(flights.answer(true, None), Err(ClientError::Protocol(_))));
    }
}
