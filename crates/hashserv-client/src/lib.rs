//! Asynchronous client for hash equivalence servers of the Yocto Project.
//!
//! A [`Client`] keeps one connection to a server, over any transport, and has a method for every command.
//! It reconnects after a connection was lost, logs in again, and repeats requests where that is safe.
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
//! use hashserv_client::{Client, ClientError, ClientOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ClientError> {
//! let address = "wss://hashserv.yoctoproject.org/ws";
//! # let address = &*server::start().await;
//! let mut client = Client::connect(address, ClientOptions::default()).await?;
//! let found = client.get("oe.sstatesig.OEOuthashBasic", "b1946ac9").await?;
//! match found {
//!     Some(found) => println!("{}", found.unihash),
//!     None => println!("the server knows no unihash of this task"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Many look-ups
//!
//! One look-up costs a round trip. A [`Stream`](stream::Stream) looks up a whole batch in about one:
//!
//! ```
//! # mod server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/server.rs")); }
//! # use hashserv_client::{Client, ClientError, ClientOptions};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), ClientError> {
//! # let mut client = Client::connect(&*server::start().await, ClientOptions::default()).await?;
//! let method = "oe.sstatesig.OEOuthashBasic";
//! let mut stream = client.get_stream().await?;
//! let unihashes = stream.unihashes(&[(method, "b1946ac9"), (method, "591785b7")]).await?;
//! assert_eq!(unihashes.len(), 2);
//!
//! // A stream can be dropped at any time; the next call leaves the mode.
//! let stats = client.stats().await?;
//! # drop(stats);
//! # Ok(())
//! # }
//! ```
//!
//! A [pipeline] sends further queries while it waits for the replies to earlier ones.
//!
//! Programs to start from are in `examples/`: `lookup` looks up the lines of standard input in a pipeline,
//! `report` reports what a task produced, `watch_gc` watches a garbage collection.
//!
//! # Bounds
//!
//! A reply has at most [`ClientOptions::max_message`] bytes, a line in a stream mode 64 KiB. Batches are
//! written in pieces of 64 KiB while their replies are read, so that a batch of any size needs little more
//! memory than its replies.

mod client;
mod connect;
mod doubt;
mod error;
mod exchange;
mod login;
mod options;
pub mod pipeline;
mod reader;
mod retry;
mod send_state;
mod session;
pub mod stream;
#[cfg(test)]
mod testing;
mod writer;

pub use client::Client;
pub use connect::{Connect, Connecting, Target};
pub use error::ClientError;
pub use login::Login;
pub use options::ClientOptions;

pub use hashserv_protocol::arguments::{GcMark, Report, Where};
pub use hashserv_protocol::reply::{GcStatus, NewUser, RequestStats, Row, Stats, TaskUnihash, User};
pub use hashserv_protocol::{Address, AddressError, Call, Command, Host, Secret, Text};
pub use hashserv_transport::{Connection, DialOptions, Dialer, Limits, Proxies, ProxyError, TransportError};
