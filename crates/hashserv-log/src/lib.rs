//! Text for logs and terminals, shared by the server, the client and their libraries.
//!
//! [`one_line`] writes an error and its causes as one line. [`printable`] removes control characters from text
//! that a peer sent. [`RateLimitedWarning`] and [`RateLimitedError`] keep trouble that repeats from
//! filling the log.
//!
//! The formats of log lines belong to the programs, which install the subscribers.

#[cfg(feature = "capture")]
mod capture;
mod occurrences;
mod one_line;
mod rate_limited_error;
mod rate_limited_warning;

#[cfg(feature = "capture")]
pub use capture::CapturedLog;
pub use one_line::{one_line, printable};
pub use rate_limited_error::RateLimitedError;
pub use rate_limited_warning::RateLimitedWarning;
