//! Errors for log lines and terminals.

use std::error::Error;

/// Returns an error and its causes in one line, without control characters.
///
/// A cause that already ends the text of its error appears once.
///
/// ```
/// let error = std::io::Error::other("the disk is full");
/// assert_eq!(hashserv_log::one_line(&error), "the disk is full");
/// ```
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let cause_text = error.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        cause = error.source();
    }
    printable(&text)
}

/// Returns the text with a blank for each control character, so that a peer cannot forge a line of the log.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn each_cause_appears_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot write")]
        struct Silent(#[source] io::Error);
        #[derive(Debug, thiserror::Error)]
        #[error("cannot start: {0}")]
        struct Repeating(#[source] Silent);
        let error = Silent(io::Error::other("the disk\nis full"));
        assert_eq!(one_line(&error), "cannot write: the disk is full");
        assert_eq!(one_line(&Repeating(error)), "cannot start: cannot write: the disk is full");
    }
}
