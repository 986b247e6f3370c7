//! How many files the process may have open.

use tracing::warn;

/// Files that the server needs besides its connections: databases, listeners, and some to spare.
const RESERVE: u64 = 128;

/// Raises the limit for open files as far as it goes, and tells how many of the wanted connections fit.
pub(crate) fn fitting_connections(wanted: usize) -> usize {
    let needed = wanted as u64 + RESERVE;
    // Where the limit cannot be read, the connections are tried and the listener copes with what fails.
    let Ok(limit) = rlimit::increase_nofile_limit(needed) else { return wanted };
    if limit >= needed {
        return wanted;
    }
    let fitting = usize::try_from(limit.saturating_sub(RESERVE)).unwrap_or(wanted).max(1);
    warn!(
        "the system allows {limit} open files, so {fitting} connections are accepted at once, not {wanted}; \
         raise the limit (ulimit -n, LimitNOFILE) or lower --max-connections"
    );
    fitting
}
