//! Where log lines go.

use std::io::{self, IsTerminal};

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Logs to standard error from now on: our own crates at the level, the libraries below them only what they
/// warn of.
pub(crate) fn start(level: Level) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(level > Level::INFO);
    let filter = Targets::new().with_default(level.min(Level::WARN)).with_target("hashserv", level);
    tracing_subscriber::registry().with(filter).with(lines).init();
}
