//! Asynchronous client for hash equivalence servers of the Yocto Project.
//!
//! A [`Client`] keeps one connection to a server, over any transport, and has a method for every command.
//! It reconnects where the connection was lost, logs in again, and repeats what may safely be repeated.
//!
//! ```no_run
//! use hashserv_client::{Client, ClientOptions};
//! use hashserv_transport::{DialOptions, Dialer};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let dialer = Dialer::new(DialOptions::default());
//! let address = "wss://hashserv.yoctoproject.org/ws".parse()?;
//! let mut client = Client::connect(dialer, &address, ClientOptions::default()).await?;
//! if let Some(found) = client.get("oe.sstatesig.OEOuthashBasic", "b1946ac9").await? {
//!     println!("{}", found.unihash);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Many look-ups
//!
//! One look-up costs a round trip. A [`Stream`] asks a whole batch in about one, and a pipeline
//! ([`Client::pipeline`]) sends further batches while it waits for the replies to earlier ones:
//!
//! ```no_run
//! # async fn example(mut client: hashserv_client::Client) -> Result<(), hashserv_client::ClientError> {
//! let mut stream = client.get_stream().await?;
//! let unihashes = stream.unihashes(&[("method", "taskhash 1"), ("method", "taskhash 2")]).await;
//! # drop(unihashes);
//! // A stream can be dropped at any time; the next call leaves the mode.
//! let stats = client.stats().await?;
//! # drop(stats);
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//!
//! A reply has at most [`ClientOptions::max_message`] bytes, a line in a stream mode
//! [`MAX_LINE`](hashserv_protocol::MAX_LINE). Batches are written in pieces of 64 KiB while their replies
//! are read, so that a batch of any size needs little more memory than its replies.

mod batches;
mod call_pipeline;
mod client;
mod connect;
mod error;
mod exchange;
mod pipeline;
mod reader;
mod retry;
mod session;
mod stream;
#[cfg(test)]
mod testing;
mod writer;

pub use batches::{BatchReceiver, BatchSender};
pub use call_pipeline::{CallReceiver, CallSender};
pub use client::{Client, ClientOptions};
pub use connect::{Connect, Connecting, Target};
pub use error::ClientError;
pub use pipeline::{QuerySender, ReplyReceiver};
pub use retry::Retry;
pub use stream::mode::{Exists, Get, GetLines, MAX_QUERY, Mark, Query, StreamMode};
pub use stream::{ExistsStream, GetStream, MarkStream, Stream};
pub use writer::check_query;
