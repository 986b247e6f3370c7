//! Connections that carry the hash equivalence protocol: unix sockets, TCP, WebSocket, TLS.
//!
//! Everything above this crate sees **lines**. A [`Connection`] appends what it receives to a
//! [`LineBuffer`](hashserv_protocol::LineBuffer), from which requests are borrowed, and sends a buffer of lines that
//! each end with `\n`. How they travel is the transport's affair: on a unix socket, on raw TCP and in memory as
//! bytes, on a WebSocket as one text message a line. The one difference that shows is the [`Framing`]: a
//! stream takes lines of a limited length, so that long messages must be sent in chunks, and a WebSocket does not
//! need that.
//!
//! ```
//! use hashserv_transport::{Connection, Limits};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut client, mut server) = Connection::pair(Limits::default());
//!
//! // A batch of lines is sent at once ...
//! client.send(b"first\nsecond\n").await?;
//!
//! // ... and arrives as a batch.
//! assert!(server.receive().await?);
//! while let Some(line) = server.lines().next_line()? {
//!     println!("{}", String::from_utf8_lossy(line));
//! }
//! server.send(b"done\n").await?;
//!
//! assert!(client.receive().await?);
//! assert_eq!(client.lines().next_line()?, Some(&b"done"[..]));
//!
//! // The end of a connection is an ordinary outcome.
//! drop(client);
//! assert!(!server.receive().await?);
//! # Ok(())
//! # }
//! ```
//!
//! # A server
//!
//! A [`Listener`] is bound to one [`Address`](hashserv_protocol::Address), which may stand for several sockets: an
//! empty host for both address families, a host name for all that it resolves to. [`Listener::accept`] never
//! fails and costs little. What it returns, an [`Incoming`], is to be made a [`Connection`] in a task of its own,
//! with a bound on the time, because the handshakes of TLS and WebSocket wait for the peer.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hashserv_transport::{ListenOptions, Listener, TransportError};
//! use tokio::time::timeout;
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let mut listener = Listener::bind(&"unix://./hashserver.sock".parse()?, &ListenOptions::default()).await?;
//! loop {
//!     let incoming = listener.accept().await;
//!     tokio::spawn(async move {
//!         let Ok(connection) = timeout(Duration::from_secs(30), incoming.establish()).await else {
//!             return Ok(());
//!         };
//!         let mut connection = connection?;
//!         connection.send(b"welcome\n").await?;
//!         connection.close().await;
//!         Ok::<(), TransportError>(())
//!     });
//! }
//! # }
//! ```
//!
//! A unix socket's path may be of any length. A file that a dead server has left is replaced, one that a live server
//! answers on is not, and whatever else is in the way is left alone.
//!
//! For `wss://` the server needs a [`ServerTls`]: a certificate from files, or one that it makes itself and keeps.
//!
//! # A client
//!
//! A [`Dialer`] connects to any address. It verifies the certificates of `wss://` servers against the authorities that
//! the system trusts, or a file with others, and resumes TLS sessions. Where it is given [`Proxies`], it reaches
//! `ws://` and `wss://` servers through them.
//!
//! # What it costs and what is bounded
//!
//! - On a stream, a batch of lines is one read and one write, and no allocation for a line. A connection that waits
//!   with nothing buffered holds no receive buffer on a stream, and 8 KiB on a WebSocket.
//! - What was received and not consumed is at most [`Limits::max_line`] and 64 KiB on a stream, and
//!   [`Limits::max_message`] and 64 KiB on a WebSocket; the library beneath may hold one more message that is
//!   incomplete, and keeps buffers of the size of the largest messages until the connection ends.
//! - What is being sent is copied once on a WebSocket, and queued to 2 MiB and 64 KiB at most, answers to pings
//!   included: of those that find no room only the last is sent.
//! - The HTTP request of a WebSocket has at most 16 KiB, a server's answer 64 KiB, a proxy's answer 16 KiB.
//! - A connection is never closed for being idle. Dead peers are found by TCP keep-alive, which is set on both ends:
//!   after 30 s, then every 15 s, given up after 4 probes.
//! - Good-byes take a second at most.

mod close;
mod connection;
mod dial;
mod error;
mod goodbye;
mod limits;
mod listener;
mod metered;
mod outcome;
mod pace;
mod peer;
mod proxy;
mod receive;
mod send;
mod socket;
mod tcp;
mod tls;
mod unix;
mod upgrade;
mod websocket;

pub use connection::Connection;
pub use dial::{DialOptions, Dialer};
pub use error::TransportError;
pub use hashserv_protocol::Framing;
pub use limits::Limits;
pub use listener::{Incoming, ListenOptions, Listener};
pub use peer::Peer;
pub use proxy::{Proxies, ProxyError};
pub use receive::ReceiveHalf;
pub use send::SendHalf;
pub use tls::{CertificateInfo, ServerTls, Validity, check_authorities};
