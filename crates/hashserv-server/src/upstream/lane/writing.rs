//! The sending side of a connection to the upstream.

use std::pin::Pin;
use std::sync::Arc;

use hashserv_client::ClientError;
use tokio::sync::mpsc;

use super::Mode;

/// How many questions are put into one write at most.
const MAX_WRITE: usize = 4096;

/// The sending side of a connection.
pub(super) type Writing = Pin<Box<dyn Future<Output = Result<(), ClientError>> + Send>>;

/// Sends questions as they come: the first `alone` of them one by one, others as many together as have gathered.
pub(super) async fn write<M: Mode>(
    mut unsent: mpsc::UnboundedReceiver<Arc<M::Question>>,
    mut sender: M::Sender,
    mut alone: usize,
) -> Result<(), ClientError> {
    let mut questions = Vec::new();
    while unsent.recv_many(&mut questions, MAX_WRITE).await > 0 {
        let (first, others) = questions.split_at(alone.min(questions.len()));
        alone -= first.len();
        for batch in first.chunks(1).chain(others.chunks(M::BATCH)) {
            M::send(&mut sender, batch).await?;
        }
        questions.clear();
    }
    Ok(())
}
