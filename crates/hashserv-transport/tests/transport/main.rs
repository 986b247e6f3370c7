//! Connections, listeners and dialling on every transport.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod proxy;
mod streams;
mod support;
mod tls;
mod websocket;
