//! Pipelines: a connection in two halves, one that sends and one that receives.
//!
//! The halves must run **side by side**: a server stops reading while nobody reads its replies, so a program
//! that sends everything before it receives anything waits forever once the buffers in between are full.
//! [`tokio::try_join!`] runs both in one task; halves can also move to tasks of their own.
//!
//! Where the sending half is dropped after a failure, the receiving half ends with
//! [`ClientError::SendFailed`](crate::ClientError::SendFailed), which names the cause. It ends in the same way
//! where the server closes the connection because the sending half was dropped. Keep it until all replies have
//! arrived.
//!
//! - [`Client::pipeline`](crate::Client::pipeline) sends queries in a [stream mode](crate::stream).
//! - [`Client::batches`](crate::Client::batches) does the same in batches whose replies are counted.
//! - [`Client::call_pipeline`](crate::Client::call_pipeline) sends requests in normal mode.
//!
//! A pipeline does not repeat anything. [`Retry`] helps callers that reconnect and send again what a lost
//! connection left unanswered.

mod batches;
mod calls;
mod queries;

pub use batches::{BatchReceiver, BatchSender};
pub use calls::{CallReceiver, CallSender};
pub use queries::{QuerySender, ReplyReceiver};

pub use crate::retry::Retry;
pub(crate) use batches::batch_halves;
pub(crate) use calls::call_halves;
pub(crate) use queries::halves;
