//! The system's limit for open files.

use tracing::warn;

use crate::error::StartError;

/// Files that the server needs besides its connections to clients and to PostgreSQL: databases, listeners,
/// connections to an upstream, and some to spare.
const OWN_FILES: u64 = 64;

/// The server does not start where fewer clients than these can be connected.
const LEAST_CONNECTIONS: u64 = 16;

/// Raises the limit for open files as far as it goes, and returns how many of the wanted connections fit beside
/// `database_connections`.
///
/// # Errors
///
/// [`StartError::TooFewFiles`] where hardly a client could be served.
pub(crate) fn fitting_connections(wanted: usize, database_connections: usize) -> Result<usize, StartError> {
    let reserved = OWN_FILES + database_connections as u64;
    // Where the limit cannot be read, the connections are tried and the listener copes with what fails.
    let Ok(limit) = rlimit::increase_nofile_limit(wanted as u64 + reserved) else { return Ok(wanted) };
    let fitting = fit(wanted, reserved, limit)?;
    if fitting < wanted {
        warn!(
            "the system allows {limit} open files, so {fitting} connections are accepted at once, not \
             {wanted}; raise the limit (ulimit -n, LimitNOFILE) or lower --max-connections"
        );
    }
    Ok(fitting)
}

fn fit(wanted: usize, reserved: u64, limit: u64) -> Result<usize, StartError> {
    let needed = reserved + LEAST_CONNECTIONS.min(wanted as u64);
    if limit < needed {
        return Err(StartError::TooFewFiles { limit, needed });
    }
    Ok(usize::try_from(limit - reserved).unwrap_or(wanted).min(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_get_what_is_not_reserved() {
        assert_eq!(fit(10_000, 64, 128).unwrap(), 64);
        assert_eq!(fit(10_000, 64, 20_000).unwrap(), 10_000);
        assert_eq!(fit(1, 64, 65).unwrap(), 1, "no more is needed than was asked for");
        let message = fit(10_000, 64, 79).unwrap_err().to_string();
        assert!(message.contains("allows 79 open files, and the server needs 80 at least"), "{message}");
    }
}
