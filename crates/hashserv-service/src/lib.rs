//! The rules of hash equivalence.
//!
//! A [`Service`] answers what clients ask and decides what they may do, over any
//! [`Storage`](hashserv_storage::Storage). It knows no wire format and no socket; a server puts those in
//! front of it, and another program may embed it without any.
//!
//! It has three parts:
//!
//! - [`Equivalence`] looks hashes up and records reports. Look-ups are served from memory where that can do
//!   no harm (see [`Equivalence::unihashes`]), and completed from an [`Upstream`] server where there is one.
//! - [`Accounts`] knows users, tokens and permissions, and tells whether a [`Caller`] may do something.
//! - [`Maintenance`] removes what is not needed any more, and tells how full the database is.

mod accounts;
mod cache;
mod caller;
mod equivalence;
mod error;
mod maintenance;
mod permissions;
mod service;
mod table;
#[cfg(test)]
mod testing;
mod throttle;
mod to_the_end;
mod token;
mod upstream;
mod warm_up;

pub use accounts::{Accounts, Admin, LOGIN_FAILURE_DELAY, UserInfo};
pub use caller::Caller;
pub use equivalence::Equivalence;
pub use error::{Denial, Failure, ServiceError};
pub use maintenance::Maintenance;
pub use permissions::{Permissions, UnknownPermissions};
pub use service::{DEFAULT_CACHE_ENTRIES, DEFAULT_NEGATIVE_TTL, Service, ServiceOptions};
pub use token::Token;
pub use upstream::{DEFAULT_UPSTREAM_TIMEOUT, LateAnswers, Unavailable, Upstream};
