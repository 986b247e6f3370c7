//! Bounds of what is received.

/// The longest line that is taken, in bytes. BitBake refuses longer ones too.
pub const MAX_LINE: usize = 64 * 1024;

/// The longest message that is taken unless configured otherwise, in bytes, chunked or not.
pub const DEFAULT_MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// The longest method, taskhash, outhash, unihash, mark or user name that a server reads, in bytes: every database
/// can index it.
pub const MAX_KEY: usize = 1024;

/// The longest owner, PN, PV, PR or task name of a report that a server reads, in bytes.
pub const MAX_DETAIL: usize = 4 * 1024;

/// The longest value of a condition that a server reads, in bytes.
pub const MAX_CONDITION: usize = MAX_LINE;

/// The longest token that a server reads, in bytes.
pub const MAX_TOKEN: usize = 4 * 1024;
