//! The sending side of a connection to the upstream.

use std::pin::Pin;
use std::sync::Arc;

use hashserv_client::ClientError;
use tokio::sync::mpsc;

use crate::question_kind::QuestionKind;

/// Number of questions in one write at most.
const MAX_QUESTIONS_PER_WRITE: usize = 4096;

/// The sending side of a connection.
pub(crate) type Writing = Pin<Box<dyn Future<Output = Result<(), ClientError>> + Send>>;

/// Sends questions as they come: the first `alone` of them one by one, others as many together as have gathered.
pub(crate) async fn write<K: QuestionKind>(
    mut unsent: mpsc::UnboundedReceiver<Arc<K::Question>>,
    mut sender: K::Sender,
    mut alone: usize,
) -> Result<(), ClientError> {
    let mut questions = Vec::new();
    while unsent.recv_many(&mut questions, MAX_QUESTIONS_PER_WRITE).await > 0 {
        let (first, others) = questions.split_at(alone.min(questions.len()));
        alone -= first.len();
        for batch in first.chunks(1).chain(others.chunks(K::MAX_BATCH)) {
            K::send(&mut sender, batch).await?;
        }
        questions.clear();
    }
    Ok(())
}
