//! The stream modes, and how their queries and replies look.

use std::fmt::Debug;

use hashserv_protocol::arguments::{GcMark, Nothing};
use hashserv_protocol::reply::Count;
use hashserv_protocol::{Call, Command, Framing, MAX_KEY, encode_message, stream};
use serde_json::Value;

use crate::ClientError;

/// The longest query that is sent in a stream mode, in bytes, with the end of its line.
pub const MAX_QUERY: usize = 32 * 1024;

mod sealed {
    pub trait Sealed {}
}

/// A stream mode: [`Get`] (or [`GetLines`]), [`Exists`] or [`Mark`].
pub trait StreamMode: sealed::Sealed + Send + Sync + 'static {
    /// What a query is answered with.
    type Reply: Debug + Send;

    /// The command that begins the mode.
    #[doc(hidden)]
    const COMMAND: Command;

    #[doc(hidden)]
    fn call() -> Call<'static>;

    #[doc(hidden)]
    fn decode(line: &str) -> Result<Self::Reply, ClientError>;
}

/// A query in a stream mode.
pub trait Query<M: StreamMode>: Sync {
    /// Appends the query as one line with its end.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsendable`] where the query cannot be told as one line; `out` is then as it was.
    fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientError>;

    /// Reports whether the query may be sent again after the connection was lost before the reply arrived.
    fn is_repeatable(&self) -> bool {
        true
    }
}

/// `get-stream`: methods and taskhashes are asked, unihashes answered.
#[derive(Clone, Copy, Debug)]
pub enum Get {}

/// `get-stream` too, with every reply as the line that it came in, empty where nothing is known. For whoever
/// judges unihashes himself: a single bad one is then no reason to give the connection up.
#[derive(Clone, Copy, Debug)]
pub enum GetLines {}

/// `exists-stream`: unihashes are asked, whether they are known is answered.
#[derive(Clone, Copy, Debug)]
pub enum Exists {}

/// `gc-mark-stream`: conditions are sent, how many unihashes were marked is answered.
#[derive(Clone, Copy, Debug)]
pub enum Mark {}

impl sealed::Sealed for Get {}
impl sealed::Sealed for GetLines {}
impl sealed::Sealed for Exists {}
impl sealed::Sealed for Mark {}

impl StreamMode for Get {
    /// The unihash, if the taskhash has one.
    type Reply = Option<String>;

    const COMMAND: Command = Command::GetStream;

    fn call() -> Call<'static> {
        Call::GetStream(Nothing)
    }

    fn decode(line: &str) -> Result<Self::Reply, ClientError> {
        if line.is_empty() {
            return Ok(None);
        }
        if !is_word(line) || line.starts_with('{') {
            return Err(ClientError::senseless(line.as_bytes()));
        }
        Ok(Some(line.to_owned()))
    }
}

impl StreamMode for GetLines {
    /// The line, without its end.
    type Reply = String;

    const COMMAND: Command = Command::GetStream;

    fn call() -> Call<'static> {
        Call::GetStream(Nothing)
    }

    fn decode(line: &str) -> Result<Self::Reply, ClientError> {
        Ok(line.to_owned())
    }
}

impl StreamMode for Exists {
    /// Whether the unihash is known.
    type Reply = bool;

    const COMMAND: Command = Command::ExistsStream;

    fn call() -> Call<'static> {
        Call::ExistsStream(Nothing)
    }

    fn decode(line: &str) -> Result<Self::Reply, ClientError> {
        [true, false]
            .into_iter()
            .find(|exists| line == stream::existence(*exists))
            .ok_or_else(|| ClientError::senseless(line.as_bytes()))
    }
}

impl StreamMode for Mark {
    /// How many unihashes were marked.
    type Reply = u64;

    const COMMAND: Command = Command::GcMarkStream;

    fn call() -> Call<'static> {
        Call::GcMarkStream(Nothing)
    }

    fn decode(line: &str) -> Result<Self::Reply, ClientError> {
        match serde_json::from_str::<Count>(line) {
            Ok(reply) => Ok(reply.count),
            Err(_) => Err(ClientError::senseless(line.as_bytes())),
        }
    }
}

impl<A: AsRef<str> + Sync, B: AsRef<str> + Sync> Query<Get> for (A, B) {
    fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientError> {
        append_task(self.0.as_ref(), self.1.as_ref(), out)
    }
}

impl<A: AsRef<str> + Sync, B: AsRef<str> + Sync> Query<GetLines> for (A, B) {
    fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientError> {
        append_task(self.0.as_ref(), self.1.as_ref(), out)
    }
}

fn append_task(method: &str, taskhash: &str, out: &mut Vec<u8>) -> Result<(), ClientError> {
    let (method, taskhash) = (check_word("method", method)?, check_word("taskhash", taskhash)?);
    out.extend_from_slice(method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(taskhash.as_bytes());
    out.push(b'\n');
    Ok(())
}

impl<S: AsRef<str> + Sync> Query<Exists> for S {
    fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientError> {
        let unihash = check_word("unihash", self.as_ref())?;
        if stream::is_end(unihash) {
            return Err(ClientError::Unsendable(format!("{unihash:?} would end the stream")));
        }
        out.extend_from_slice(unihash.as_bytes());
        out.push(b'\n');
        Ok(())
    }
}

impl Query<Mark> for GcMark<'_> {
    fn append(&self, out: &mut Vec<u8>) -> Result<(), ClientError> {
        check_length("mark", &self.mark)?;
        if self.conditions.values().filter_map(Value::as_str).any(|value| value.contains('\0')) {
            return Err(ClientError::Unsendable("a condition has a NUL character".to_owned()));
        }
        // Lines in a stream mode are never chunked, whatever the transport.
        encode_message(self, Framing::Messages, out)
            .map_err(|error| ClientError::Unsendable(error.to_string()))
    }

    fn is_repeatable(&self) -> bool {
        GcMark::is_repeatable(self)
    }
}

/// Refuses what a server would not read back as one word.
fn check_word<'a>(what: &str, text: &'a str) -> Result<&'a str, ClientError> {
    check_length(what, text)?;
    if is_word(text) {
        return Ok(text);
    }
    let quoted: String = text.chars().take(80).collect();
    Err(ClientError::Unsendable(format!(
        "the {what} {quoted:?} must not be empty nor have blanks or control characters in it"
    )))
}

/// Refuses what a server would close the connection for.
fn check_length(what: &str, text: &str) -> Result<(), ClientError> {
    if text.len() > MAX_KEY {
        return Err(ClientError::Unsendable(format!("the {what} is longer than {MAX_KEY} bytes")));
    }
    Ok(())
}

fn is_word(text: &str) -> bool {
    // By bytes where that will do, since this is looked at for every query.
    let plain = |byte: u8| byte.is_ascii_graphic();
    !text.is_empty()
        && (text.bytes().all(plain) || !text.chars().any(|c| c.is_whitespace() || c.is_control()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<M: StreamMode>(query: impl Query<M>) -> Result<String, String> {
        let mut out = Vec::new();
        let appended = query.append(&mut out);
        assert!(appended.is_ok() || out.is_empty(), "nothing is left of what cannot be sent");
        appended.map(|()| String::from_utf8(out).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn queries_are_lines_and_what_is_not_one_is_refused() {
        assert_eq!(line::<Get>(("m", "té")).unwrap(), "m té\n");
        assert_eq!(line::<Exists>("u").unwrap(), "u\n");
        let mark = GcMark { mark: "M".into(), conditions: [("method".into(), "a\nb".into())].into() };
        assert_eq!(line::<Mark>(mark).unwrap(), "{\"mark\":\"M\",\"where\":{\"method\":\"a\\nb\"}}\n");
        for bad in [("", "t"), ("m", ""), ("a b", "t"), ("m", "t\nm t"), ("m", "t\0"), ("m", "t\u{a0}")] {
            assert!(line::<Get>(bad).unwrap_err().contains("must not be empty nor have blanks"), "{bad:?}");
        }
        let (full, long) = ("x".repeat(MAX_KEY), "x".repeat(MAX_KEY + 1));
        assert!(line::<Get>((&full, &full)).is_ok() && line::<Exists>(&full).is_ok());
        let too_long = |what: &str| {
            Err(format!("the request cannot be sent: the {what} is longer than {MAX_KEY} bytes"))
        };
        assert_eq!(line::<Get>(("m", &long)), too_long("taskhash"));
        assert_eq!(line::<GetLines>((&long, "t")), too_long("method"));
        assert_eq!(line::<Exists>(&long), too_long("unihash"));
        let mark = GcMark { mark: long.as_str().into(), conditions: [].into() };
        assert_eq!(line::<Mark>(mark), too_long("mark"));
        let mark = GcMark { mark: "M".into(), conditions: [("method".into(), "a\0".into())].into() };
        assert!(line::<Mark>(mark).unwrap_err().contains("NUL"));
        assert_eq!(
            line::<Exists>("END").unwrap_err(),
            "the request cannot be sent: \"END\" would end the stream"
        );
    }

    #[test]
    fn replies_that_are_no_replies_are_errors() {
        assert_eq!(Get::decode("").unwrap(), None);
        assert_eq!(Get::decode("u").unwrap().as_deref(), Some("u"));
        assert_eq!(GetLines::decode("a b").unwrap(), "a b");
        assert!(Exists::decode("true").unwrap());
        assert_eq!(Mark::decode("{\"count\": 5}").unwrap(), 5);
        for bad in ["<html> <body>", "{\"unihash\":1}", "a b"] {
            assert!(matches!(Get::decode(bad), Err(ClientError::Protocol(_))), "{bad}");
            assert!(matches!(Exists::decode(bad), Err(ClientError::Protocol(_))), "{bad}");
            assert!(matches!(Mark::decode(bad), Err(ClientError::Protocol(_))), "{bad}");
        }
    }
}
