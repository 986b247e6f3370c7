//! Servers that lack some commands.

use hashserv_client::ClientError;

/// Whether the server may not know the command. Ours refuses what it does not offer; older ones close the
/// connection, and what we sent behind the close makes it look like a broken one.
pub(crate) fn may_lack(error: &ClientError) -> bool {
    match error {
        ClientError::Refused(message) => message.starts_with("Unknown command"),
        error => error.is_lost(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use hashserv_client::{Connection, Limits, TransportError};

    use super::*;

    #[test]
    fn a_connection_that_breaks_may_be_one_that_an_old_server_closed() {
        let peer = Connection::pair(Limits::default()).0.peer().clone();
        let broken = TransportError::Io { peer, source: io::ErrorKind::ConnectionReset.into() };
        assert!(may_lack(&ClientError::Transport(broken)));
        assert!(!may_lack(&ClientError::Timeout { after: Duration::from_secs(1) }));
    }
}
