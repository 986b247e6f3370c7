//! The hash equivalence protocol of the Yocto Project (OEHASHEQUIV 1.1), without I/O.
//!
//! BitBake asks a hash equivalence server which *unihash* stands for a *taskhash*, and reports the *outhash*
//! that a task produced. This crate knows how that looks on the wire, for servers and clients alike, and does
//! no I/O: bytes go in, values come out, and the other way round.
//!
//! # A conversation
//!
//! Whatever carries it, a conversation consists of lines. On a stream (unix socket, TCP) a line ends with
//! `\n`, over a WebSocket each line is a message ([`Framing`] tells which). It begins with a handshake:
//!
//! ```
//! use hashserv_protocol::{HandshakeReader, Hello, Progress};
//!
//! let mut reader = HandshakeReader::default();
//! assert_eq!(reader.line("OEHASHEQUIV 1.1"), Ok(Progress::More));
//! assert_eq!(reader.line("needs-headers: false"), Ok(Progress::More));
//! assert_eq!(reader.line(""), Ok(Progress::Done(Hello::default())));
//! ```
//!
//! Then the connection is in *normal mode*: every request is a JSON message ([`Call`] to write it,
//! [`Request`] to read it), and so is every reply ([`reply`]). Three commands switch to a *stream mode*, in
//! which every line is a query ([`stream`]).
//!
//! Messages are written with [`encode_message`] and read with [`MessageReader`], which take care of long
//! messages that travel in chunks:
//!
//! ```
//! use hashserv_protocol::arguments::Task;
//! use hashserv_protocol::{Call, Command, Framing, MessageReader, Request, encode_message};
//!
//! let mut wire = Vec::new();
//! let call = Call::Get(Task { method: "m".into(), taskhash: "t".into(), all: false });
//! encode_message(&call, Framing::Lines, &mut wire).unwrap();
//! assert_eq!(wire, b"{\"get\":{\"method\":\"m\",\"taskhash\":\"t\",\"all\":false}}\n");
//!
//! let mut reader = MessageReader::new(Framing::Lines, 1 << 20);
//! let text = reader.line(wire.trim_ascii_end()).unwrap().expect("the message is complete");
//! let request = Request::parse(&text).unwrap().expect("it is not the null that ends a connection");
//! assert_eq!(request.command(), Command::Get);
//! assert_eq!(request.arguments::<Task>().unwrap().taskhash, "t");
//! ```
//!
//! # Bounds
//!
//! Nothing here grows without one: [`LineBuffer`] and [`MessageReader`] are given their bounds,
//! [`HandshakeReader`] has its own, and JSON is parsed to a depth of 128.

mod address;
pub mod arguments;
mod bounded;
mod call;
mod command;
mod handshake;
mod json;
mod limits;
mod line_buffer;
mod message;
pub mod reply;
mod request;
mod secret;
pub mod stream;
mod text;

pub use address::{Address, AddressError, Host, without_credentials};
pub use call::Call;
pub use command::{Access, Command, Latency, Repetition};
pub use handshake::{HandshakeError, HandshakeReader, Hello, MAX_VIA, Progress};
pub use limits::{DEFAULT_MAX_MESSAGE, MAX_CONDITION, MAX_DETAIL, MAX_KEY, MAX_LINE, MAX_TOKEN};
pub use line_buffer::{LineBuffer, LineTooLong};
pub use message::{Framing, MessageError, MessageReader, encode_message};
pub use request::{OwnedRequest, Request, RequestError};
pub use secret::Secret;
pub use text::{Text, is_valid_unihash};
