//! Kinds of questions, each asked on a connection of its own.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use hashserv_client::pipeline::{BatchReceiver, BatchSender, CallReceiver, CallSender};
use hashserv_client::stream::{Exists, GetLines, MAX_QUERY, Query, StreamMode};
use hashserv_client::{Client, ClientError};
use hashserv_protocol::Call;
use hashserv_service::LateAnswers;
use hashserv_storage::{TaskKey, UnifiedRow, Unihash};
use tokio::time::Instant;

use crate::row_question::{PROBE_HASH, PROBE_METHOD, RowQuestion};

/// The kind of questions that a connection is used for.
pub(crate) trait QuestionKind: Debug + Send + Sync + Sized + 'static {
    /// Questions that are equal share their answer.
    type Question: Debug + Eq + Hash + Send + Sync;
    /// What the upstream sends.
    type Reply: Send;
    /// What it is taken for. Each who asked gets a clone.
    type Answer: Clone + Debug + Send + Sync;
    type Sender: Send;
    type Receiver: Send;

    /// What the questions are called in messages.
    const NAME: &'static str;

    /// Whether every answer is short, so that an upstream fails as a whole that is silent about one.
    const HAS_SHORT_ANSWERS: bool;

    /// Number of questions that are answered as a whole or not at all, at most.
    const MAX_BATCH: usize;

    /// A question that no task asks, to try the upstream with.
    fn probe() -> Self::Question;

    /// Whether the question can be told in the protocol. What cannot is not known upstream either.
    fn is_sendable(question: &Self::Question) -> bool;

    /// The answer to a question that cannot be sent, or that the upstream cannot answer.
    fn unknown() -> Self::Answer;

    fn open(
        client: &mut Client,
    ) -> impl Future<Output = Result<(Self::Sender, Self::Receiver), ClientError>> + Send;

    /// Sends questions that are answered as a whole.
    fn send(
        sender: &mut Self::Sender,
        questions: &[Arc<Self::Question>],
    ) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// Waits for the replies to what was sent together. Cancellation safe.
    fn receive(
        receiver: &mut Self::Receiver,
    ) -> impl Future<Output = Result<Vec<Self::Reply>, ClientError>> + Send;

    /// When anything last arrived.
    fn last_received(receiver: &Self::Receiver) -> Instant;

    /// Takes a reply for the answer to the question.
    fn accept(question: &Self::Question, reply: Self::Reply) -> Result<Self::Answer, ClientError>;

    /// Keeps an answer that nobody waits for any more.
    fn keep_late(question: &Self::Question, answer: &Self::Answer, late: &dyn LateAnswers);
}

/// Number of look-ups whose replies are counted together: many enough to cost nothing, few enough that a slow
/// upstream has some to hand out in time.
const QUESTIONS_COUNTED_TOGETHER: usize = 256;

/// Which unihash a task has; in `get-stream`.
#[derive(Debug)]
pub(crate) enum UnihashKind {}

/// Whether a unihash exists; in `exists-stream`.
#[derive(Debug)]
pub(crate) enum ExistenceKind {}

/// Whole rows; in normal mode.
#[derive(Debug)]
pub(crate) enum RowKind {}

impl QuestionKind for UnihashKind {
    /// Method and taskhash.
    type Question = (String, String);
    type Reply = String;
    type Answer = Option<Unihash>;
    type Sender = BatchSender<GetLines>;
    type Receiver = BatchReceiver<GetLines>;

    const NAME: &'static str = "get-stream";
    const HAS_SHORT_ANSWERS: bool = true;
    const MAX_BATCH: usize = QUESTIONS_COUNTED_TOGETHER;

    fn probe() -> Self::Question {
        (PROBE_METHOD.to_owned(), PROBE_HASH.to_owned())
    }

    fn is_sendable(question: &Self::Question) -> bool {
        is_line::<GetLines, _>(question)
    }

    fn unknown() -> Self::Answer {
        None
    }

    async fn open(client: &mut Client) -> Result<(Self::Sender, Self::Receiver), ClientError> {
        client.batches().await
    }

    async fn send(sender: &mut Self::Sender, questions: &[Arc<Self::Question>]) -> Result<(), ClientError> {
        let queries: Vec<(&str, &str)> =
            questions.iter().map(|question| (question.0.as_str(), question.1.as_str())).collect();
        sender.send(&queries).await
    }

    async fn receive(receiver: &mut Self::Receiver) -> Result<Vec<Self::Reply>, ClientError> {
        receiver.receive().await
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(_: &Self::Question, reply: String) -> Result<Self::Answer, ClientError> {
        Ok(if reply.is_empty() { None } else { Some(Unihash::from_stored(&reply)) })
    }

    fn keep_late((method, taskhash): &Self::Question, answer: &Self::Answer, late: &dyn LateAnswers) {
        if let Some(unihash) = answer {
            late.unihash(TaskKey { method, taskhash }, unihash.clone());
        }
    }
}

impl QuestionKind for ExistenceKind {
    type Question = Unihash;
    type Reply = bool;
    type Answer = bool;
    type Sender = BatchSender<Exists>;
    type Receiver = BatchReceiver<Exists>;

    const NAME: &'static str = "exists-stream";
    const HAS_SHORT_ANSWERS: bool = true;
    const MAX_BATCH: usize = QUESTIONS_COUNTED_TOGETHER;

    fn probe() -> Self::Question {
        Unihash::from([0; 32])
    }

    fn is_sendable(question: &Self::Question) -> bool {
        question.digest().is_some() || is_line::<Exists, _>(&question.to_string())
    }

    fn unknown() -> Self::Answer {
        false
    }

    async fn open(client: &mut Client) -> Result<(Self::Sender, Self::Receiver), ClientError> {
        client.batches().await
    }

    async fn send(sender: &mut Self::Sender, questions: &[Arc<Self::Question>]) -> Result<(), ClientError> {
        let queries: Vec<String> = questions.iter().map(|question| question.to_string()).collect();
        sender.send(&queries).await
    }

    async fn receive(receiver: &mut Self::Receiver) -> Result<Vec<Self::Reply>, ClientError> {
        receiver.receive().await
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(_: &Self::Question, reply: bool) -> Result<Self::Answer, ClientError> {
        Ok(reply)
    }

    /// Existence is not kept.
    fn keep_late(_: &Self::Question, _: &Self::Answer, _: &dyn LateAnswers) {}
}

impl QuestionKind for RowKind {
    type Question = RowQuestion;
    type Reply = Option<hashserv_protocol::reply::Row>;
    type Answer = Option<Arc<UnifiedRow>>;
    type Sender = CallSender;
    type Receiver = CallReceiver;

    const NAME: &'static str = "get-outhash";
    const HAS_SHORT_ANSWERS: bool = false;
    const MAX_BATCH: usize = 1;

    fn probe() -> Self::Question {
        RowQuestion::probe()
    }

    fn is_sendable(question: &Self::Question) -> bool {
        question.is_sendable()
    }

    fn unknown() -> Self::Answer {
        None
    }

    async fn open(client: &mut Client) -> Result<(Self::Sender, Self::Receiver), ClientError> {
        client.call_pipeline().await
    }

    async fn send(sender: &mut Self::Sender, questions: &[Arc<Self::Question>]) -> Result<(), ClientError> {
        let calls: Vec<Call<'_>> = questions.iter().map(|question| question.to_call()).collect();
        sender.send(&calls).await
    }

    async fn receive(receiver: &mut Self::Receiver) -> Result<Vec<Self::Reply>, ClientError> {
        Ok(vec![receiver.receive().await?])
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(question: &Self::Question, reply: Self::Reply) -> Result<Self::Answer, ClientError> {
        Ok(reply.map(|row| question.accept(row)).transpose()?.flatten().map(Arc::new))
    }

    fn keep_late(_: &Self::Question, answer: &Self::Answer, late: &dyn LateAnswers) {
        if let Some(row) = answer {
            late.row(row.clone());
        }
    }
}

/// Whether a query is one line that the upstream takes.
fn is_line<K: StreamMode, Q: Query<K>>(query: &Q) -> bool {
    let mut line = Vec::new();
    query.append(&mut line).is_ok() && line.len() <= MAX_QUERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_line_is_not_sent() {
        let get = |method: &str, taskhash: &str| (method.to_owned(), taskhash.to_owned());
        assert!(UnihashKind::is_sendable(&get("m", "t")));
        for bad in [get("m", "a b"), get("", "t"), get("m", "t\nm u"), get("m", &"t".repeat(MAX_QUERY))] {
            assert!(!UnihashKind::is_sendable(&bad));
        }
        assert!(ExistenceKind::is_sendable(&Unihash::from_stored("old")));
        assert!(!ExistenceKind::is_sendable(&Unihash::from_stored("END")));
    }
}
