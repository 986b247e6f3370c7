//! Bounds of a connection.

use hashserv_protocol::{DEFAULT_MAX_MESSAGE, MAX_LINE};

/// Longest pieces that a connection accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest line on a stream, in bytes, without its end. 64 KiB by default.
    pub max_line: usize,
    /// The longest WebSocket message, in bytes. 64 MiB by default.
    pub max_message: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_line: MAX_LINE, max_message: DEFAULT_MAX_MESSAGE }
    }
}
