//! A service that completes its answers from an upstream, over upstreams that fail in every way.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on shall fail")]

mod backfill;
mod breaking;
mod chain;
mod circles;
mod closing;
mod fake;
mod hindered;
mod late;
mod out_of_step;
mod policy;
mod recovering;
mod rows;
mod scripted;
mod sessions;
mod slow;
mod support;
mod working;
