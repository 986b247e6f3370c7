//! Warnings for people on standard error.

use std::fmt::Display;
use std::io::{self, Write};

/// Prints a warning, unless only errors are to be logged.
pub(crate) fn warn(text: impl Display) {
    if tracing::enabled!(tracing::Level::WARN) {
        // With standard error closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "WARNING: {text}");
    }
}
