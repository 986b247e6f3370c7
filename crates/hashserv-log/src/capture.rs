//! Captured log lines, for tests.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Level, Metadata, Subscriber};

type Lines = Vec<(Level, String)>;

/// Log lines of this thread at INFO and above, captured until this value is dropped.
#[derive(Debug)]
pub struct CapturedLog {
    lines: Arc<Mutex<Lines>>,
    _guard: DefaultGuard,
}

impl CapturedLog {
    /// Starts to capture, in place of this thread's subscriber.
    #[must_use]
    pub fn start() -> Self {
        let lines = Arc::default();
        let subscriber = Collector { lines: Arc::clone(&lines) };
        CapturedLog { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    /// Returns the messages of this level so far.
    #[must_use]
    pub fn lines(&self, level: Level) -> Vec<String> {
        let lines = lock(&self.lines);
        lines.iter().filter(|line| line.0 == level).map(|line| line.1.clone()).collect()
    }
}

struct Collector {
    lines: Arc<Mutex<Lines>>,
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        lock(&self.lines).push((*event.metadata().level(), message.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, _: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{value:?}");
    }
}
