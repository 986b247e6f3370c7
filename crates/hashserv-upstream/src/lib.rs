//! Another server as the [`Upstream`](hashserv_service::Upstream) of a service, asked over the network.
//!
//! A [`ClientUpstream`] has three lanes, one for each kind of question. A lane owns one connection, shares
//! the answer to a question among all who ask it, and pipelines the questions that wait. A circuit breaker
//! keeps callers from waiting for an upstream that fails, and a route keeps servers that ask each other in a
//! circle from passing a question round.
//!
//! The policy (which questions go upstream, which answers are kept) belongs to the service.

mod breaker;
mod client_upstream;
mod failure;
mod in_flight;
mod lane;
mod options;
mod question_kind;
mod route;
mod row_question;

pub use client_upstream::ClientUpstream;
pub use options::UpstreamOptions;
