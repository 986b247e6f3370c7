//! A service that completes its answers from an upstream, over upstreams that fail in every way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod breaking;
mod chain;
mod closing;
mod fake;
mod log;
mod policy;
mod recovering;
mod sessions;
mod support;
mod working;
