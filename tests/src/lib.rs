//! What the end-to-end tests of hashserv are made of.
//!
//! The tests run the real programs, `hashserv` and `hashclient`, on databases and sockets in temporary directories, and
//! talk to them byte by byte. Nothing here shares code with the programs under test: what encodes a message
//! wrongly in the server would decode it just as wrongly in the test.
//!
//! - [`Launch`] starts a server with any options, on any [`Transport`] and [`Backend`]; a [`TestServer`] can be stopped,
//!   killed and started again.
//! - [`RawClient`] is a connection that controls each byte it sends.
//! - [`BitbakeClient`] does what BitBake's does, and records what a build would see.
//! - [`run_hashclient`] runs the client program.
//!
//! Failures panic with what was expected and what came, since only tests call this library.

mod backend;
mod binaries;
mod bitbake_client;
mod client_program;
mod imports;
mod launch;
mod proxy;
mod raw;
mod samples;
mod server;
mod tls;
mod transport;
mod wait;
mod wire;

pub use backend::{Backend, Database};
pub use binaries::binary;
pub use bitbake_client::{BitbakeClient, BuildTrouble, REPLY_LIMIT, RETRIES, Seen, report_of_a_task};
pub use client_program::{ClientRun, hashclient, run_hashclient};
pub use imports::Crate;
pub use launch::{FailedStart, Launch};
pub use proxy::Proxy;
pub use raw::{CHUNK, HANDSHAKE, Message, RawClient};
pub use rustix::process::Signal;
pub use samples::{METHOD, get, hash, is_hash, report, report_of, task_of, unihash_of};
pub use server::TestServer;
pub use transport::Transport;
pub use wait::{DEADLINE, eventually};
