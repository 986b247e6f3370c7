//! Standard error: the log, and what is said whatever its level.
//!
//! Nothing that happens there ends or holds up the server: lines that cannot be written are lost.

use std::fmt;
use std::io::{self, IsTerminal, StderrLock, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// The longest wait for a reader that is behind. Further lines are lost without a wait until it has caught up.
const READER_DEADLINE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// No wait at all.
const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The most that a pipe takes at once without a wait when it is writable, in bytes.
const PIECE: usize = 4096;

/// Number of lines that were lost since the last one that was written.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Logs to standard error from now on: our own crates at the level, the libraries below them only what they
/// warn of.
pub(crate) fn start(level: Level) {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Lines)
        .with_ansi(io::stderr().is_terminal())
        .with_target(level > Level::INFO)
        // It would panic: it prints to standard error that standard error cannot be printed to.
        .log_internal_errors(false);
    let filter = Targets::new().with_default(level.min(Level::WARN)).with_target("hashserv", level);
    tracing_subscriber::registry().with(filter).with(lines).init();
}

/// Prints a line to standard error, or loses it where that cannot be written.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    write_or_lose(format!("{line}\n").as_bytes());
}

/// Writes whole lines, one with each call.
struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        write_or_lose(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_or_lose(line: &[u8]) {
    let mut stderr = io::stderr().lock();
    let lost = LOST.load(Ordering::Relaxed);
    // A reader that did not read in time is not waited for again.
    let patience = if lost == 0 { &READER_DEADLINE } else { &AT_ONCE };
    let note = if lost == 0 { String::new() } else { format!("{lost} lines of the log were lost\n") };
    let text = [note.as_bytes(), line].concat();
    let is_written = text.chunks(PIECE).all(|piece| write_piece(&mut stderr, piece, patience).is_ok());
    LOST.store(if is_written { 0 } else { lost + 1 }, Ordering::Relaxed);
}

fn write_piece(stderr: &mut StderrLock<'_>, piece: &[u8], patience: &Timespec) -> io::Result<()> {
    let mut writable = [PollFd::new(stderr, PollFlags::OUT)];
    if retry_on_intr(|| poll(&mut writable, Some(patience)))? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    stderr.write_all(piece)
}
