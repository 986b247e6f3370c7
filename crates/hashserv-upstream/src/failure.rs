//! Failures of an upstream, and their texts.

use hashserv_client::ClientError;
use hashserv_log::{one_line, printable};

/// Characters of a failure or a question that are logged.
const MAX_TEXT_CHARACTERS: usize = 400;

/// Beginning of the message by which servers refuse a login.
const LOGIN_REFUSED: &str = "Unable to authenticate";

/// Why a lane failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: ClientError,
    /// Whether the upstream fails as a whole. Otherwise it may be one kind of question that it cannot answer.
    pub(crate) is_outage: bool,
}

impl Failure {
    /// No connection could be had. An old server closes it where it does not know a mode, which is no outage.
    pub(crate) fn opening(error: ClientError) -> Self {
        let is_outage =
            matches!(error, ClientError::Connect(_) | ClientError::Timeout { .. } | ClientError::Refused(_));
        Failure { error, is_outage }
    }

    /// Questions were not answered, which are short or not.
    pub(crate) fn asking(error: ClientError, short: bool) -> Self {
        let is_outage = short && matches!(error, ClientError::Timeout { .. });
        Failure { error, is_outage }
    }
}

/// A failure and its causes in one line. What the upstream sent may be among it, so it is kept short and free
/// of control characters.
pub(crate) fn describe(error: &ClientError) -> String {
    match error {
        ClientError::Refused(message) if message.starts_with(LOGIN_REFUSED) => format!(
            "it refuses the login: {}; give it a user that it knows and that user's token (--upstream-user, \
             --upstream-token-file of hashserv)",
            shorten(message)
        ),
        ClientError::Refused(message) => shorten(&format!("it refuses to answer: {message}")),
        error => shorten(&one_line(error)),
    }
}

/// As much of a text as is told, in one line.
pub(crate) fn shorten(text: &str) -> String {
    printable(text).chars().take(MAX_TEXT_CHARACTERS).collect()
}

#[cfg(test)]
mod tests {
    use hashserv_transport::TransportError;

    use super::*;

    #[test]
    fn refused_login_is_told_with_its_options() {
        let text = describe(&ClientError::Refused("Unable to authenticate as me".to_owned()));
        assert!(text.starts_with("it refuses the login: Unable to authenticate as me; "), "{text}");
        assert!(text.contains("--upstream-user"), "{text}");
    }

    #[test]
    fn what_an_upstream_says_is_told_in_one_short_line() {
        let refused = ClientError::Refused(format!("no\n\x1b[31m{}", "x".repeat(1000)));
        let text = describe(&refused);
        assert!(text.starts_with("it refuses to answer: no  [31mxxx"), "{text}");
        assert_eq!(text.chars().count(), MAX_TEXT_CHARACTERS);
    }

    #[test]
    fn causes_are_told() {
        let source = std::io::Error::other("no route");
        let address = "localhost:1".parse().unwrap();
        let error = ClientError::Connect(TransportError::Connect { address, source });
        assert_eq!(describe(&error), "cannot connect to localhost:1: no route");
    }
}
