//! Requests as servers read them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::Command;
use crate::json;

/// How much of what a peer sent is quoted back to it, in characters.
const QUOTED: usize = 80;

/// A request: a command, and arguments that are not looked at yet.
///
/// They come apart because permissions are checked before arguments.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    command: Command,
    arguments: &'a RawValue,
}

/// A request that outlives the message it was read from.
#[derive(Clone, Debug)]
pub struct OwnedRequest {
    command: Command,
    arguments: Box<RawValue>,
}

impl OwnedRequest {
    /// Borrows the request.
    #[must_use]
    pub fn as_request(&self) -> Request<'_> {
        Request { command: self.command, arguments: &self.arguments }
    }

    /// Size of its text, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.arguments.get().len()
    }
}

/// Why a message is no request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The text is not JSON.
    #[error("The message is not valid JSON: {0}")]
    Json(String),
    /// The message is JSON, but no object, or an empty one.
    #[error("The message is not an object with a command")]
    NotAnObject,
    /// No key of the object is a command.
    #[error("Unknown command {0}")]
    UnknownCommand(String),
    /// The arguments are not what the command takes.
    #[error("Invalid arguments for '{command}': {reason}")]
    Arguments {
        /// The command's name.
        command: &'static str,
        /// What is wrong with them.
        reason: String,
    },
}

impl<'a> Request<'a> {
    /// Reads a message; `None` is the `null` with which a client ends the connection.
    ///
    /// Keys that are no commands are ignored. Of several commands the first in [`Command::ALL`] counts, of a
    /// repeated key the last value.
    ///
    /// # Errors
    ///
    /// [`RequestError`], whose text may be told to the peer.
    pub fn parse(text: &'a str) -> Result<Option<Self>, RequestError> {
        match serde_json::from_str::<Message<'a>>(text) {
            Ok(Message::Null) => Ok(None),
            Ok(Message::Request(request)) => Ok(Some(request)),
            Ok(Message::NoCommand(keys)) if keys.is_empty() => Err(RequestError::NotAnObject),
            Ok(Message::NoCommand(keys)) => Err(RequestError::UnknownCommand(keys)),
            Ok(Message::Other) => Err(RequestError::NotAnObject),
            Err(error) => Err(RequestError::Json(error.to_string())),
        }
    }

    /// Copies the request.
    #[must_use]
    pub fn to_owned_request(&self) -> OwnedRequest {
        OwnedRequest { command: self.command, arguments: self.arguments.to_owned() }
    }

    /// What is asked for.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command
    }

    /// The arguments as the command takes them.
    ///
    /// # Errors
    ///
    /// [`RequestError::Arguments`].
    pub fn arguments<T: Deserialize<'a>>(&self) -> Result<T, RequestError> {
        json::object(self.arguments.get())
            .map_err(|reason| RequestError::Arguments { command: self.command.name(), reason })
    }

    /// The text of a string among the arguments; `None` where the arguments are an object in which it is
    /// missing, or no string.
    ///
    /// # Errors
    ///
    /// [`RequestError::Arguments`] where the arguments are no object.
    pub fn string(&self, key: &str) -> Result<Option<String>, RequestError> {
        let arguments: serde_json::Map<String, serde_json::Value> = self.arguments()?;
        Ok(arguments.get(key).and_then(|value| value.as_str()).map(str::to_owned))
    }
}

/// What a message turns out to be.
enum Message<'a> {
    Null,
    Request(Request<'a>),
    /// The keys, quoted.
    NoCommand(String),
    Other,
}

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MessageVisitor)
    }
}

struct MessageVisitor;

impl<'de> Visitor<'de> for MessageVisitor {
    type Value = Message<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a command")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut chosen: Option<Request<'de>> = None;
        let mut unknown = String::new();
        while let Some(Key(key)) = map.next_key()? {
            let arguments = map.next_value()?;
            match Command::from_name(&key) {
                Some(command) if chosen.is_none_or(|request| command <= request.command) => {
                    chosen = Some(Request { command, arguments });
                }
                Some(_) => {}
                None => quote_key(&key, &mut unknown),
            }
        }
        Ok(chosen.map_or(Message::NoCommand(unknown), Message::Request))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Message::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Message::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Message::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Message::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Message::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(Message::Other)
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
        Ok(Message::Other)
    }
}

/// A key, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

fn quote_key(key: &str, quoted: &mut String) {
    if quoted.len() < QUOTED {
        let separator = if quoted.is_empty() { "" } else { ", " };
        let short: String = key.chars().take(QUOTED).collect();
        quoted.push_str(separator);
        quoted.push_str(&format!("'{short}'"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::arguments::Task;
    use crate::{MAX_DETAIL, MAX_KEY};

    fn command(text: &str) -> Result<Option<Command>, RequestError> {
        Request::parse(text).map(|request| request.map(|request| request.command()))
    }

    #[test]
    fn keys_that_are_no_commands_are_ignored_and_ping_comes_first() {
        assert_eq!(command(r#"{"x": [1], "get": {}, "y": 1}"#), Ok(Some(Command::Get)));
        assert_eq!(command(r#"{"get": {}, "ping": null}"#), Ok(Some(Command::Ping)));
        assert_eq!(command(r#"{"\u0070ing": null}"#), Ok(Some(Command::Ping)));
        assert_eq!(command("null"), Ok(None));
    }

    #[test]
    fn of_a_repeated_key_the_last_value_counts() {
        let text = r#"{"get": {"method": "m", "taskhash": "a"}, "get": {"method": "m", "taskhash": "b"}}"#;
        let request = Request::parse(text).unwrap().unwrap();
        assert_eq!(request.arguments::<Task<'_>>().unwrap().taskhash, "b");
        let text =
            r#"{"get": {"taskhash": "a", "method": "m", "taskhash": "\u0062", "all": 1, "all": true}}"#;
        let task: Task<'_> = Request::parse(text).unwrap().unwrap().arguments().unwrap();
        assert_eq!(task, Task { method: "m".into(), taskhash: "b".into(), all: true });
        let text = r#"{"get": {"taskhash": "a", "method": "m", "taskhash": 5}}"#;
        assert!(Request::parse(text).unwrap().unwrap().arguments::<Task<'_>>().is_err());
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_quoted() {
        let request = Request::parse(r#"{"auth": "secret"}"#).unwrap().unwrap();
        let error = request.arguments::<crate::arguments::Auth<'_>>().unwrap_err().to_string();
        assert_eq!(error, "Invalid arguments for 'auth': invalid type: string, expected an object");
    }

    #[test]
    fn what_is_no_request_is_explained() {
        for text in ["[]", "\"\"", "0", "-1", "1.5", "true", "[\"ping\"]", "{}"] {
            assert_eq!(command(text), Err(RequestError::NotAnObject), "{text}");
        }
        assert_eq!(
            command(r#"{"PING": {}, "b": 1}"#),
            Err(RequestError::UnknownCommand("'PING', 'b'".into()))
        );
        for text in ["", "{", "ping", "{'ping': 1}", "{\"ping\": 1,}", "{\"ping\": 1} {}", "\"\\ud800"] {
            assert!(matches!(command(text), Err(RequestError::Json(_))), "{text}");
        }
    }

    #[test]
    fn arguments_of_wrong_types_are_explained() {
        for (arguments, reason) in [
            ("null", "invalid type: null"),
            ("{}", "missing field `method`"),
            (r#"["m", "t", false]"#, "invalid type: sequence"),
            (r#"{"method": "m", "taskhash": 5}"#, "invalid type: integer `5`, expected a string"),
            (r#"{"method": "m", "taskhash": "t", "all": 0}"#, "expected a boolean"),
            (r#"{"method": "m", "taskhash": "a\u0000b"}"#, "NUL character"),
        ] {
            let text = format!("{{\"get\": {arguments}}}");
            let request = Request::parse(&text).unwrap().unwrap();
            let error = request.arguments::<Task<'_>>().unwrap_err().to_string();
            assert!(error.starts_with("Invalid arguments for 'get': ") && error.contains(reason), "{error}");
        }
    }

    /// The refusal of a `report` in which one argument has so many bytes.
    fn refusal(argument: &str, length: usize) -> Option<String> {
        let mut arguments = serde_json::json!({
            "method": "m", "taskhash": "t", "outhash": "o", "unihash": "u", "owner": "w", "PN": "n", "PV": "v",
            "PR": "r", "task": "k",
        });
        arguments[argument] = "x".repeat(length).into();
        let text = serde_json::json!({ "report": arguments }).to_string();
        let request = Request::parse(&text).unwrap().unwrap();
        request.arguments::<crate::arguments::Report<'_>>().err().map(|error| error.to_string())
    }

    #[test]
    fn arguments_have_their_bound_and_no_byte_more() {
        for (argument, max) in [
            ("method", MAX_KEY),
            ("taskhash", MAX_KEY),
            ("outhash", MAX_KEY),
            ("unihash", MAX_KEY),
            ("owner", MAX_DETAIL),
            ("PN", MAX_DETAIL),
            ("PV", MAX_DETAIL),
            ("PR", MAX_DETAIL),
            ("task", MAX_DETAIL),
        ] {
            assert_eq!(refusal(argument, max), None);
            let explained = refusal(argument, max + 1).unwrap();
            assert!(explained.contains(&format!("{argument} is longer than {max} bytes")), "{explained}");
        }
        assert_eq!(refusal("outhash_siginfo", 1_000_000), None);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = "[".repeat(1_000_000);
        assert!(matches!(command(&deep), Err(RequestError::Json(_))));
        let within = format!("{{\"x\": {}{}, \"ping\": 1}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(command(&within), Err(RequestError::Json(_)) | Ok(Some(Command::Ping))));
    }

    #[test]
    fn a_quoted_command_has_a_bounded_length() {
        let text = format!("{{\"{}\": 1}}", "x".repeat(100_000));
        let error = command(&text).unwrap_err().to_string();
        assert!(error.len() < 200, "{}", error.len());
    }

    proptest! {
        #[test]
        fn any_text_is_a_request_or_an_error(text in "[{}\\[\\]\":,a-z0-9\\\\ -]{0,40}") {
            let _ = command(&text);
        }
    }
}
