//! The lines of stream modes.
//!
//! A stream mode is begun with the commands `get-stream`, `exists-stream` and `gc-mark-stream`, answered by
//! the JSON message `"ok"`. Then every line is a query and every reply a bare line, until the line `END` or
//! an empty one, which is answered by the bare line `ok`.

use serde::de::IgnoredAny;

use crate::arguments::GcMark;
use crate::{Command, MAX_KEY, json};

/// How many characters of a line are quoted back in an error.
const QUOTED: usize = 200;

/// The line that ends a stream mode.
pub const END: &str = "END";

/// The bare line that answers [`END`].
pub const OK: &str = "ok";

/// A stream mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamMode {
    /// Look-ups of unihashes by task.
    Get,
    /// Questions for the existence of unihashes.
    Exists,
    /// Marks of a collection.
    GcMark,
}

impl StreamMode {
    /// Command that switches to the mode.
    #[must_use]
    pub fn command(self) -> Command {
        match self {
            StreamMode::Get => Command::GetStream,
            StreamMode::Exists => Command::ExistsStream,
            StreamMode::GcMark => Command::GcMarkStream,
        }
    }

    /// Reports whether clients take any line for a reply to their query, so that nothing else may be sent.
    #[must_use]
    pub fn has_bare_replies(self) -> bool {
        match self {
            StreamMode::Get | StreamMode::Exists => true,
            StreamMode::GcMark => false,
        }
    }
}

/// The reply in `exists-stream`.
#[must_use]
pub fn existence(exists: bool) -> &'static str {
    if exists { "true" } else { "false" }
}

/// Whether the line ends a stream mode.
#[must_use]
pub fn is_end(line: &str) -> bool {
    line.is_empty() || line == END
}

/// A line in a stream mode cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// In `get-stream`: the line is not two words.
    #[error("Invalid line '{0}': METHOD TASKHASH expected")]
    NotTwoWords(String),
    /// The line is not UTF-8.
    #[error("A line is not valid UTF-8")]
    NotUtf8,
    /// The line has a NUL character, which no database stores.
    #[error("A line has a NUL character")]
    Nul,
    /// A method or a hash is too long.
    #[error("A {0} is longer than {MAX_KEY} bytes")]
    TooLong(&'static str),
    /// In `gc-mark-stream`: the line is not JSON.
    #[error("Could not decode JSONL input '{0}'")]
    NotJson(String),
    /// In `gc-mark-stream`: a key is missing. (The blank at the end is BitBake's.)
    #[error("Input line is missing key ''{0}'' ")]
    MissingKey(&'static str),
    /// In `gc-mark-stream`: something has the wrong type.
    #[error("Invalid line: {0}")]
    WrongType(String),
}

/// The method and the taskhash of a line in `get-stream`.
///
/// # Errors
///
/// [`StreamError::NotTwoWords`], [`StreamError::Nul`], [`StreamError::TooLong`].
pub fn task(line: &str) -> Result<(&str, &str), StreamError> {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(method), Some(taskhash), None) => {
            check_text(line)?;
            check_length(method, "method")?;
            check_length(taskhash, "taskhash")?;
            Ok((method, taskhash))
        }
        _ => Err(StreamError::NotTwoWords(quote(line))),
    }
}

/// The text of a received line.
///
/// # Errors
///
/// [`StreamError::NotUtf8`].
pub fn text(line: &[u8]) -> Result<&str, StreamError> {
    std::str::from_utf8(line).map_err(|_| StreamError::NotUtf8)
}

/// The unihash of a line in `exists-stream`: any text.
///
/// # Errors
///
/// [`StreamError::Nul`], [`StreamError::TooLong`].
pub fn unihash(line: &str) -> Result<&str, StreamError> {
    check_text(line)?;
    check_length(line, "unihash")?;
    Ok(line)
}

/// The arguments of a line in `gc-mark-stream`.
///
/// # Errors
///
/// [`StreamError::NotJson`], [`StreamError::MissingKey`] and [`StreamError::WrongType`].
pub fn mark(line: &str) -> Result<GcMark<'_>, StreamError> {
    json::object(line).map_err(|reason| explain_mark(line, reason))
}

/// What is wrong with a line that is no mark, in BitBake's words where it has some.
fn explain_mark(line: &str, reason: String) -> StreamError {
    #[derive(serde::Deserialize)]
    struct Keys {
        mark: Option<IgnoredAny>,
        #[serde(rename = "where")]
        conditions: Option<IgnoredAny>,
    }
    if serde_json::from_str::<IgnoredAny>(line).is_err() {
        return StreamError::NotJson(quote(line));
    }
    let is_object = line.trim_ascii_start().starts_with('{');
    match serde_json::from_str::<Keys>(line) {
        Ok(Keys { mark: None, .. }) if is_object && !has_key(line, "mark") => StreamError::MissingKey("mark"),
        Ok(Keys { conditions: None, .. }) if is_object && !has_key(line, "where") => {
            StreamError::MissingKey("where")
        }
        _ => StreamError::WrongType(reason),
    }
}

/// Whether the object in `line` has the key, be its value `null`.
fn has_key(line: &str, key: &str) -> bool {
    serde_json::from_str::<std::collections::BTreeMap<String, IgnoredAny>>(line)
        .is_ok_and(|object| object.contains_key(key))
}

fn check_text(line: &str) -> Result<(), StreamError> {
    match memchr::memchr(0, line.as_bytes()) {
        None => Ok(()),
        Some(_) => Err(StreamError::Nul),
    }
}

fn check_length(text: &str, what: &'static str) -> Result<(), StreamError> {
    if text.len() > MAX_KEY { Err(StreamError::TooLong(what)) } else { Ok(()) }
}

fn quote(line: &str) -> String {
    line.chars().take(QUOTED).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_task_is_two_words_with_any_blanks() {
        for line in ["m t", " m  t ", "m\tt", "m t\r"] {
            assert_eq!(task(line), Ok(("m", "t")), "{line:?}");
        }
        for line in ["m", "m t x", "", "end"] {
            assert_eq!(task(line), Err(StreamError::NotTwoWords(line.to_owned())), "{line:?}");
        }
        assert_eq!(task("m t\0"), Err(StreamError::Nul));
    }

    #[test]
    fn hashes_have_their_bound_and_no_byte_more() {
        let (full, long) = ("x".repeat(MAX_KEY), "x".repeat(MAX_KEY + 1));
        assert_eq!(task(&format!("{full} {full}")), Ok((full.as_str(), full.as_str())));
        assert_eq!(task(&format!("{long} t")), Err(StreamError::TooLong("method")));
        assert_eq!(task(&format!("m {long}")), Err(StreamError::TooLong("taskhash")));
        assert_eq!(unihash(&full), Ok(full.as_str()));
        assert_eq!(unihash(&long), Err(StreamError::TooLong("unihash")));
        let mark_of = |name: &str| mark(&format!("{{\"mark\": \"{name}\", \"where\": {{}}}}")).map(|_| ());
        assert_eq!(mark_of(&full), Ok(()));
        assert!(
            matches!(mark_of(&long), Err(StreamError::WrongType(why)) if why.contains("mark is longer than"))
        );
    }

    #[test]
    fn a_line_that_is_no_mark_is_explained() {
        for (line, message) in [
            ("{bad", "Could not decode JSONL input '{bad'"),
            ("x 'y' é", "Could not decode JSONL input 'x 'y' é'"),
            (r#"{"mark": "M"}"#, "Input line is missing key ''where'' "),
            (r#"{"where": {}}"#, "Input line is missing key ''mark'' "),
            ("{}", "Input line is missing key ''mark'' "),
        ] {
            assert_eq!(mark(line).unwrap_err().to_string(), message);
        }
        for line in [
            "[]",
            r#"["M", {}]"#,
            "null",
            "5",
            r#"{"mark": 1, "where": {}}"#,
            r#"{"mark": "M", "where": null}"#,
        ] {
            assert!(matches!(mark(line), Err(StreamError::WrongType(_))), "{line}: {:?}", mark(line));
        }
    }

    #[test]
    fn a_mark_may_have_further_keys() {
        let arguments = mark(r#"{"where": {"unihash": "u"}, "mark": "M", "more": 1}"#).unwrap();
        assert_eq!(arguments.mark, "M");
        assert_eq!(arguments.conditions["unihash"], "u");
    }

    proptest! {
        #[test]
        fn any_line_is_a_query_or_an_error(line in any::<String>()) {
            let _ = task(&line);
            let _ = mark(&line);
            let _ = unihash(&line);
        }
    }
}
