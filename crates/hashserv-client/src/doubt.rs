//! Commands whose reply was lost, so that it is not known if they were carried out.

use hashserv_protocol::Command;

use crate::ClientError;

/// Tells what to do if `error` came after a request that changes what the server has was sent. Other errors, and
/// those of other commands, stay as they are.
pub(crate) fn in_doubt(command: Command, is_repeatable: bool, error: ClientError) -> ClientError {
    match error.is_lost() || matches!(error, ClientError::Timeout { .. }) {
        true => doubt(command, is_repeatable, error),
        false => error,
    }
}

/// The same whatever the error is, for a request that an earlier attempt has sent.
pub(crate) fn doubt(command: Command, is_repeatable: bool, error: ClientError) -> ClientError {
    match advice(command, is_repeatable) {
        Some(advice) => ClientError::InDoubt { command, advice, source: Box::new(error) },
        None => error,
    }
}

/// Advice for who does not know if the command was carried out; `None` where to ask again does no harm and finds out.
fn advice(command: Command, is_repeatable: bool) -> Option<&'static str> {
    match command {
        Command::NewUser => Some("look with get-user; if the user exists, refresh-token makes a new token"),
        Command::RefreshToken => {
            Some("the old token may be void; a user administrator can make a new one with refresh-token")
        }
        Command::DeleteUser | Command::SetUserPerms => Some("look with get-user"),
        Command::Remove | Command::CleanUnused => {
            Some("look with get-db-usage; to do it again removes what is left")
        }
        Command::GcSweep => Some("look with gc-status: while the mark is there, the sweep was not finished"),
        Command::GcMark | Command::GcMarkStream if is_repeatable => None,
        Command::GcMark | Command::GcMarkStream => {
            Some("look with gc-status; begin again with a mark of another name")
        }
        Command::ResetStats => Some("the figures up to now may be lost"),
        Command::Ping
        | Command::Get
        | Command::GetOuthash
        | Command::GetStream
        | Command::ExistsStream
        | Command::Report
        | Command::ReportEquiv
        | Command::GetStats
        | Command::BackfillWait
        | Command::GetDbUsage
        | Command::GetDbQueryColumns
        | Command::GcStatus
        | Command::Auth
        | Command::GetUser
        | Command::GetAllUsers
        | Command::BecomeUser => None,
    }
}

#[cfg(test)]
mod tests {
    use hashserv_protocol::Repetition;

    use super::*;

    #[test]
    fn every_command_that_must_not_be_repeated_has_advice() {
        for command in Command::ALL.into_iter().filter(|it| it.repetition() != Repetition::Harmless) {
            let error = in_doubt(command, false, ClientError::Closed);
            assert!(matches!(error, ClientError::InDoubt { .. }), "{command:?}");
            assert!(error.is_lost(), "{command:?}");
        }
    }

    #[test]
    fn refusal_leaves_no_doubt() {
        let refused = in_doubt(Command::NewUser, false, ClientError::Refused("no".to_owned()));
        assert_eq!(refused.to_string(), "no");
        assert!(matches!(in_doubt(Command::Get, true, ClientError::Closed), ClientError::Closed));
    }
}
