//! What is asked on a connection, and how.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use hashserv_client::{
    CallReceiver, CallSender, Client, ClientError, Exists, GetLines, MAX_QUERY, Query, QuerySender,
    ReplyReceiver,
};
use hashserv_protocol::Call;
use hashserv_storage::{UnifiedRow, Unihash};
use tokio::time::Instant;

mod row;

pub(super) use row::RowQuestion;

/// The kind of questions that a connection is used for.
pub(super) trait Mode: Debug + Send + Sync + Sized + 'static {
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
    const SHORT: bool;

    /// A question that no task asks, to try the upstream with.
    fn probe() -> Self::Question;

    /// Whether the question can be told in the protocol. What cannot is not known upstream either.
    fn is_sendable(question: &Self::Question) -> bool;

    /// The answer to a question that cannot be sent, or that the upstream cannot answer.
    fn unknown() -> Self::Answer;

    fn open(
        client: &mut Client,
    ) -> impl Future<Output = Result<(Self::Sender, Self::Receiver), ClientError>> + Send;

    fn send(
        sender: &mut Self::Sender,
        questions: &[Arc<Self::Question>],
    ) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// Waits for replies, and appends at most `limit` to `replies`. Cancellation safe.
    fn receive(
        receiver: &mut Self::Receiver,
        replies: &mut Vec<Self::Reply>,
        limit: usize,
    ) -> impl Future<Output = Result<(), ClientError>> + Send;

    /// When anything last arrived.
    fn last_received(receiver: &Self::Receiver) -> Instant;

    /// Takes a reply for the answer to the question.
    fn accept(question: &Self::Question, reply: Self::Reply) -> Result<Self::Answer, ClientError>;
}

/// Which unihash a task has; in `get-stream`.
#[derive(Debug)]
pub(super) enum GetMode {}

/// Whether a unihash exists; in `exists-stream`.
#[derive(Debug)]
pub(super) enum ExistsMode {}

/// Whole rows; in normal mode.
#[derive(Debug)]
pub(super) enum RowMode {}

impl Mode for GetMode {
    /// Method and taskhash.
    type Question = (String, String);
    type Reply = String;
    type Answer = Option<Unihash>;
    type Sender = QuerySender<GetLines>;
    type Receiver = ReplyReceiver<GetLines>;

    const NAME: &'static str = "get-stream";
    const SHORT: bool = true;

    fn probe() -> Self::Question {
        (row::PROBE_METHOD.to_owned(), row::PROBE_HASH.to_owned())
    }

    fn is_sendable(question: &Self::Question) -> bool {
        is_line::<GetLines, _>(question)
    }

    fn unknown() -> Self::Answer {
        None
    }

    async fn open(client: &mut Client) -> Result<(Self::Sender, Self::Receiver), ClientError> {
        client.pipeline().await
    }

    async fn send(sender: &mut Self::Sender, questions: &[Arc<Self::Question>]) -> Result<(), ClientError> {
        let queries: Vec<(&str, &str)> =
            questions.iter().map(|question| (question.0.as_str(), question.1.as_str())).collect();
        sender.send(&queries).await
    }

    async fn receive(
        receiver: &mut Self::Receiver,
        replies: &mut Vec<Self::Reply>,
        limit: usize,
    ) -> Result<(), ClientError> {
        receiver.receive(replies, limit).await
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(_: &Self::Question, reply: String) -> Result<Self::Answer, ClientError> {
        Ok(if reply.is_empty() { None } else { Some(Unihash::from_stored(&reply)) })
    }
}

impl Mode for ExistsMode {
    type Question = Unihash;
    type Reply = bool;
    type Answer = bool;
    type Sender = QuerySender<Exists>;
    type Receiver = ReplyReceiver<Exists>;

    const NAME: &'static str = "exists-stream";
    const SHORT: bool = true;

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
        client.pipeline().await
    }

    async fn send(sender: &mut Self::Sender, questions: &[Arc<Self::Question>]) -> Result<(), ClientError> {
        let queries: Vec<String> = questions.iter().map(|question| question.to_string()).collect();
        sender.send(&queries).await
    }

    async fn receive(
        receiver: &mut Self::Receiver,
        replies: &mut Vec<Self::Reply>,
        limit: usize,
    ) -> Result<(), ClientError> {
        receiver.receive(replies, limit).await
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(_: &Self::Question, reply: bool) -> Result<Self::Answer, ClientError> {
        Ok(reply)
    }
}

impl Mode for RowMode {
    type Question = RowQuestion;
    type Reply = Option<hashserv_protocol::reply::Row>;
    type Answer = Option<Arc<UnifiedRow>>;
    type Sender = CallSender;
    type Receiver = CallReceiver;

    const NAME: &'static str = "get-outhash";
    const SHORT: bool = false;

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

    async fn receive(
        receiver: &mut Self::Receiver,
        replies: &mut Vec<Self::Reply>,
        _: usize,
    ) -> Result<(), ClientError> {
        replies.push(receiver.receive().await?);
        Ok(())
    }

    fn last_received(receiver: &Self::Receiver) -> Instant {
        receiver.last_received()
    }

    fn accept(question: &Self::Question, reply: Self::Reply) -> Result<Self::Answer, ClientError> {
        Ok(reply.map(|row| question.accept(row)).transpose()?.flatten().map(Arc::new))
    }
}

/// Whether a query is one line that the upstream takes.
fn is_line<M: hashserv_client::StreamMode, Q: Query<M>>(query: &Q) -> bool {
    let mut line = Vec::new();
    query.append(&mut line).is_ok() && line.len() <= MAX_QUERY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_line_is_not_sent() {
        let get = |method: &str, taskhash: &str| (method.to_owned(), taskhash.to_owned());
        assert!(GetMode::is_sendable(&get("m", "t")));
        for bad in [get("m", "a b"), get("", "t"), get("m", "t\nm u"), get("m", &"t".repeat(MAX_QUERY))] {
            assert!(!GetMode::is_sendable(&bad));
        }
        assert!(ExistsMode::is_sendable(&Unihash::from_stored("old")));
        assert!(!ExistsMode::is_sendable(&Unihash::from_stored("END")));
    }
}
