//! Errors for log lines and terminals.

use std::error::Error;

/// An error and its causes in one line, as logs and terminals want it.
///
/// Libraries that tell the cause in their own text have it told once.
///
/// ```
/// let error = std::io::Error::other("the disk is full");
/// assert_eq!(hashserv_client::one_line(&error), "the disk is full");
/// ```
#[must_use]
pub fn one_line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        cause = error.source();
    }
    printable(&text)
}

/// The text with blanks for control characters: what a peer sent must not look like a line of its own in a log.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn causes_are_told_once() {
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
