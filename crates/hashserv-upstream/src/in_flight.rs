//! Questions in flight, and those who wait for the answers.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hashserv_client::ClientError;
use hashserv_service::LateAnswers;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::question_kind::QuestionKind;

/// Questions that somebody asks together, and where the answers go.
#[derive(Debug)]
pub(crate) struct Ask<K: QuestionKind> {
    /// With numbers to tell the answers apart.
    pub(crate) questions: Vec<(usize, K::Question)>,
    /// Takes one answer to each at most. Dropped when no further one comes, closed when nobody waits any more.
    pub(crate) answers: mpsc::UnboundedSender<(usize, K::Answer)>,
}

/// The questions of one connection that have no answer yet.
///
/// Replies come in the order of the questions. A question that several ask is under way once.
#[derive(Debug)]
pub(crate) struct InFlight<K: QuestionKind> {
    /// In the order in which they were, or are to be, sent; with the time from which on they wait.
    order: VecDeque<(Arc<K::Question>, Instant)>,
    waiting: HashMap<Arc<K::Question>, Waiters<K>>,
}

/// Those who wait for the answer to one question.
#[derive(Debug)]
struct Waiters<K: QuestionKind> {
    /// Whether the question is asked though nobody waits: the breaker does.
    is_probe: bool,
    callers: Vec<Waiting<K>>,
}

/// One who waits for an answer.
#[derive(Debug)]
struct Waiting<K: QuestionKind> {
    number: usize,
    answers: mpsc::UnboundedSender<(usize, K::Answer)>,
}

impl<K: QuestionKind> InFlight<K> {
    pub(crate) fn new() -> Self {
        InFlight { order: VecDeque::new(), waiting: HashMap::new() }
    }

    /// How many questions have no answer.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The questions that have no answer, in order.
    pub(crate) fn unanswered(&self) -> impl Iterator<Item = &Arc<K::Question>> {
        self.order.iter().map(|(question, _)| question)
    }

    /// From when on the earliest question has waited.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.order.front().map(|(_, since)| *since)
    }

    /// Adds questions, unless nobody waits for the answers any more, and hands those to `send` that were not
    /// under way yet.
    pub(crate) fn add(&mut self, ask: Ask<K>, mut send: impl FnMut(Arc<K::Question>)) {
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
    pub(crate) fn add_probe(&mut self) {
        let question = Arc::new(K::probe());
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
    pub(crate) fn answer(
        &mut self,
        reply: K::Reply,
        late: Option<&dyn LateAnswers>,
    ) -> Result<(), ClientError> {
        let Some((question, _)) = self.order.front() else {
            return Err(ClientError::Protocol("nothing was asked".to_owned()));
        };
        let answer = K::accept(question, reply)?;
        let question = question.clone();
        if !self.hand_out(&answer)
            && let Some(late) = late
        {
            K::keep_late(&question, &answer, late);
        }
        Ok(())
    }

    /// Counts the earliest question as unknown upstream.
    pub(crate) fn skip(&mut self) {
        self.hand_out(&K::unknown());
    }

    /// Gives the earliest question up: whoever waits for it is told that the upstream is unavailable.
    pub(crate) fn give_up_earliest(&mut self) {
        if let Some((question, _)) = self.order.pop_front() {
            self.waiting.remove(&question);
        }
    }

    /// Takes all questions that have no answer, and tells all who wait that there will be none in time.
    pub(crate) fn take_unanswered(&mut self) -> Self {
        let mut taken = std::mem::replace(self, InFlight::new());
        taken.waiting.values_mut().for_each(|waiters| waiters.callers.clear());
        taken
    }

    /// Tells all who wait that there will be no answer.
    pub(crate) fn fail(&mut self) {
        *self = InFlight::new();
    }

    /// Drops the questions that nobody waits for any more.
    pub(crate) fn drop_unwanted(&mut self) {
        let is_wanted = |waiting: &Waiting<K>| !waiting.answers.is_closed();
        self.waiting.retain(|_, waiters| waiters.is_probe || waiters.callers.iter().any(is_wanted));
        self.order.retain(|(question, _)| self.waiting.contains_key(question));
    }

    /// Gives the answer to all who wait for the earliest question; returns whether anybody does.
    fn hand_out(&mut self, answer: &K::Answer) -> bool {
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
    use crate::question_kind::{ExistenceKind, UnihashKind};

    type Answers = mpsc::UnboundedReceiver<(usize, Option<Unihash>)>;

    /// Asks, and tells what is to be sent.
    fn ask(in_flight: &mut InFlight<UnihashKind>, taskhashes: &[&str]) -> (Answers, Vec<String>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let questions = taskhashes.iter().map(|taskhash| ("m".to_owned(), (*taskhash).to_owned()));
        let questions = questions.enumerate().collect();
        let mut sent = Vec::new();
        in_flight.add(Ask { questions, answers: sender }, |question| sent.push(question.1.clone()));
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
        let mut in_flight = InFlight::new();
        let (mut first, _) = ask(&mut in_flight, &["1", "2"]);
        let (mut second, _) = ask(&mut in_flight, &["3"]);
        in_flight.answer(unihash("a"), None).unwrap();
        let a = Some(Unihash::from([0xaa; 32]));
        assert_eq!(answered(&mut first), (vec![(0, a)], false));
        in_flight.answer(String::new(), None).unwrap();
        in_flight.answer(unihash("c"), None).unwrap();
        let c = Some(Unihash::from([0xcc; 32]));
        assert_eq!(answered(&mut first), (vec![(1, None)], true));
        assert_eq!(answered(&mut second), (vec![(0, c)], true));
        assert!(in_flight.is_empty() && in_flight.waiting.is_empty());
    }

    #[test]
    fn a_question_is_under_way_once_whoever_asks_it() {
        let mut in_flight = InFlight::new();
        let (mut first, sent) = ask(&mut in_flight, &["1", "2", "1"]);
        assert_eq!(sent, ["1", "2"]);
        let (mut second, sent) = ask(&mut in_flight, &["2", "3"]);
        assert_eq!(sent, ["3"]);
        for digit in ["a", "b", "c"] {
            in_flight.answer(unihash(digit), None).unwrap();
        }
        let [a, b, c] = [[0xaa; 32], [0xbb; 32], [0xcc; 32]].map(|digest| Some(Unihash::from(digest)));
        assert_eq!(answered(&mut first).0, [(0, a.clone()), (2, a), (1, b.clone())]);
        assert_eq!(answered(&mut second).0, [(0, b), (1, c)]);
    }

    #[test]
    fn a_question_may_be_asked_again_once_it_is_answered() {
        let mut in_flight = InFlight::new();
        let (_answers, _) = ask(&mut in_flight, &["1"]);
        in_flight.answer(String::new(), None).unwrap();
        assert_eq!(ask(&mut in_flight, &["1"]).1, ["1"]);
    }

    #[test]
    fn all_who_wait_are_told_of_a_failure_and_have_what_was_answered() {
        let mut in_flight = InFlight::new();
        let (mut first, _) = ask(&mut in_flight, &["1", "2"]);
        in_flight.answer(String::new(), None).unwrap();
        in_flight.fail();
        assert_eq!(answered(&mut first), (vec![(0, None)], true));
        assert!(in_flight.is_empty());
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_asked() {
        let mut in_flight = InFlight::new();
        let (gone, _) = ask(&mut in_flight, &["1", "2"]);
        let (_stays, _) = ask(&mut in_flight, &["2", "3"]);
        in_flight.add_probe();
        drop(gone);
        in_flight.drop_unwanted();
        let left: Vec<_> = in_flight.unanswered().map(|question| question.1.as_str()).collect();
        assert_eq!(left, ["2", "3", &UnihashKind::probe().1]);
        let (answers, closed) = mpsc::unbounded_channel();
        drop(closed);
        let questions = vec![(0, ("m".to_owned(), "4".to_owned()))];
        in_flight.add(Ask { questions, answers }, |question| panic!("{question:?}"));
    }

    #[test]
    fn probe_that_a_client_asks_too_is_asked_when_the_client_has_gone() {
        let probe = UnihashKind::probe();
        let mut in_flight = InFlight::<UnihashKind>::new();
        in_flight.add_probe();
        let (answers, client) = mpsc::unbounded_channel();
        in_flight
            .add(Ask { questions: vec![(0, probe.clone())], answers }, |_| panic!("it is asked already"));
        drop(client);
        in_flight.drop_unwanted();
        assert_eq!(in_flight.len(), 1);
        let (answers, _client) = mpsc::unbounded_channel();
        let mut in_flight = InFlight::<UnihashKind>::new();
        in_flight.add(Ask { questions: vec![(0, probe)], answers }, drop);
        in_flight.add_probe();
        assert_eq!(in_flight.len(), 1);
    }

    #[test]
    fn a_reply_that_nothing_was_asked_for_is_an_error() {
        let mut in_flight = InFlight::<ExistenceKind>::new();
        assert!(matches!(in_flight.answer(true, None), Err(ClientError::Protocol(_))));
    }
}
