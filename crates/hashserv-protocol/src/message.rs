//! Messages and the lines that carry them.

use std::borrow::Cow;
use std::str::Utf8Error;

use serde::Serialize;

use crate::json;

/// From this many characters on a message on a stream is sent in chunks; no chunk has more.
const CHUNK: usize = 32 * 1024 - 1;

/// The line that announces chunks.
const CHUNK_STREAM: &[u8] = b"{\"chunk-stream\": null}\n";

/// The escape of a blank, for where a chunk would otherwise end with one.
const ESCAPED_BLANK: &[u8] = b"\\u0020";

/// How a transport carries messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Lines of a stream: a long message is sent in chunks.
    Lines,
    /// A WebSocket message each: nothing is chunked.
    Messages,
}

/// Why received lines are not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The line is not UTF-8.
    #[error("a message is not valid UTF-8")]
    Utf8(#[from] Utf8Error),
    /// The chunks together are longer than the bound.
    #[error("a message is longer than {max} bytes")]
    TooLong {
        /// The longest message that is taken, in bytes.
        max: usize,
    },
}

/// Appends a value to `out` as one message: a line, or chunks where it is long and the framing wants that.
///
/// # Errors
///
/// Where the value cannot be written as JSON; `out` is then as it was.
pub fn encode_message(
    value: &impl Serialize,
    framing: Framing,
    out: &mut Vec<u8>,
) -> Result<(), serde_json::Error> {
    let from = out.len();
    if let Err(error) = json::append(value, out) {
        out.truncate(from);
        return Err(error);
    }
    if framing == Framing::Lines && out.len() - from >= CHUNK {
        let text = out.split_off(from);
        append_chunks(&text, out);
    } else {
        out.push(b'\n');
    }
    Ok(())
}

/// Cuts `text` into chunks.
///
/// BitBake's receiver strips trailing white space of each chunk and takes a blank one for the end, so no
/// chunk may end with a blank: the cut moves back behind the last other character, and where there is none
/// (blanks only occur within strings) the last blank is escaped.
fn append_chunks(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + text.len() / 1024 + 64);
    out.extend_from_slice(CHUNK_STREAM);
    let mut rest = text;
    while !rest.is_empty() {
        let window = &rest[..rest.len().min(CHUNK)];
        let visible = window.trim_ascii_end().len();
        let taken = if visible > 0 {
            out.extend_from_slice(&window[..visible]);
            visible
        } else {
            let blanks = window.len().min(CHUNK - ESCAPED_BLANK.len() + 1);
            out.extend_from_slice(&window[..blanks - 1]);
            out.extend_from_slice(ESCAPED_BLANK);
            blanks
        };
        out.push(b'\n');
        rest = &rest[taken..];
    }
    out.push(b'\n');
}

/// Puts messages together from the lines that carry them.
#[derive(Debug)]
pub struct MessageReader {
    framing: Framing,
    max_message: usize,
    /// What has arrived of a message in chunks.
    chunks: Option<Vec<u8>>,
}

impl MessageReader {
    /// A reader that takes messages of at most `max_message` bytes.
    #[must_use]
    pub fn new(framing: Framing, max_message: usize) -> Self {
        MessageReader { framing, max_message, chunks: None }
    }

    /// Takes a line as it was received, without its end but with the white space before it; returns the
    /// text of the message that it completes, if it does.
    ///
    /// # Errors
    ///
    /// [`MessageError`]; the connection cannot be used any more.
    pub fn line<'a>(&mut self, line: &'a [u8]) -> Result<Option<Cow<'a, str>>, MessageError> {
        let Some(chunks) = &mut self.chunks else {
            if self.framing == Framing::Lines && announces_chunks(line) {
                self.chunks = Some(Vec::new());
                return Ok(None);
            }
            return Ok(Some(Cow::Borrowed(std::str::from_utf8(line)?)));
        };
        if !line.is_empty() {
            if chunks.len() + line.len() > self.max_message {
                return Err(MessageError::TooLong { max: self.max_message });
            }
            chunks.extend_from_slice(line);
            return Ok(None);
        }
        let bytes = self.chunks.take().unwrap_or_default();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(Cow::Owned(text))),
            Err(error) => Err(error.utf8_error().into()),
        }
    }

    /// Whether a message in chunks has begun and is not complete.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.chunks.is_some()
    }
}

/// Whether the line is an object with the key `chunk-stream` alone, whatever its value and blanks.
fn announces_chunks(line: &[u8]) -> bool {
    /// Far more than the announcement with any sensible blanks has, far less than a look-up.
    const MAX: usize = 64;
    const NAME: &[u8] = b"\"chunk-stream\"";
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Announcement {
        #[serde(rename = "chunk-stream")]
        _value: serde::de::IgnoredAny,
    }
    line.len() <= MAX
        && memchr::memmem::find(line, NAME).is_some()
        && serde_json::from_slice::<Announcement>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{LineBuffer, MAX_LINE};

    fn decode(wire: &[u8], framing: Framing) -> Vec<String> {
        let mut buffer = LineBuffer::new(MAX_LINE);
        buffer.extend(wire);
        let mut reader = MessageReader::new(framing, usize::MAX);
        let mut messages = Vec::new();
        while let Some(line) = buffer.next_raw_line().unwrap() {
            if let Some(message) = reader.line(line).unwrap() {
                messages.push(message.into_owned());
            }
        }
        assert!(buffer.is_empty() && !reader.is_within_message());
        messages
    }

    /// What BitBake's receiver makes of it: it strips white space at the end of every line.
    fn decode_stripping(wire: &[u8]) -> String {
        let mut lines = wire.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
        assert_eq!(lines.next(), Some(CHUNK_STREAM.trim_ascii_end()));
        let text: Vec<u8> = lines.take_while(|line| !line.is_empty()).flatten().copied().collect();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_message_is_chunked_from_32767_characters_on() {
        for (length, chunked) in [(CHUNK - 3, false), (CHUNK - 2, true)] {
            let mut wire = Vec::new();
            encode_message(&"x".repeat(length), Framing::Lines, &mut wire).unwrap();
            assert_eq!(wire.starts_with(CHUNK_STREAM), chunked, "{length}");
            let mut wire = Vec::new();
            encode_message(&"x".repeat(length), Framing::Messages, &mut wire).unwrap();
            assert_eq!(wire.len(), length + 3, "a WebSocket message is never chunked");
        }
    }

    #[test]
    fn blanks_survive_a_receiver_that_strips_them() {
        for text in [" ".repeat(3 * CHUNK), format!("{}x", "x ".repeat(CHUNK)), "é ".repeat(CHUNK)] {
            let mut wire = Vec::new();
            encode_message(&text, Framing::Lines, &mut wire).unwrap();
            assert_eq!(decode_stripping(&wire), text);
        }
    }

    #[test]
    fn blanks_at_the_end_of_a_received_chunk_are_kept() {
        let wire = b"{\"chunk-stream\": null}\n\"a \n b\"\n\n";
        assert_eq!(decode(wire, Framing::Lines), ["\"a  b\""]);
    }

    #[test]
    fn chunks_that_never_end_are_refused_at_the_bound() {
        let mut reader = MessageReader::new(Framing::Lines, 10);
        assert_eq!(reader.line(b"{\"chunk-stream\":null}"), Ok(None));
        assert_eq!(reader.line(b"1234567890"), Ok(None));
        assert_eq!(reader.line(b"1"), Err(MessageError::TooLong { max: 10 }));
    }

    #[test]
    fn a_websocket_knows_no_chunks() {
        let line = b"{\"chunk-stream\": null}";
        let mut reader = MessageReader::new(Framing::Messages, 10);
        assert_eq!(reader.line(line), Ok(Some(Cow::Borrowed("{\"chunk-stream\": null}"))));
    }

    proptest! {
        #[test]
        fn long_texts_with_many_blanks_come_back(parts in prop::collection::vec("[ é\u{1F600}a\n\t]{0,40}", 1..8), times in 1..2000_usize) {
            let text = parts.join("").repeat(times);
            let mut wire = Vec::new();
            encode_message(&text, Framing::Lines, &mut wire).unwrap();
            let longest = wire.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap();
            prop_assert!(longest <= CHUNK);
            let messages = decode(&wire, Framing::Lines);
            prop_assert_eq!(messages.len(), 1);
            prop_assert_eq!(&serde_json::from_str::<String>(&messages[0]).unwrap(), &text);
            if wire.starts_with(CHUNK_STREAM) {
                prop_assert_eq!(decode_stripping(&wire), text);
            }
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(lines in prop::collection::vec(any::<Vec<u8>>(), 0..10)) {
            let mut reader = MessageReader::new(Framing::Lines, 100);
            let _ = reader.line(b"{\"chunk-stream\": null}");
            for line in &lines {
                let _ = reader.line(line);
            }
        }
    }
}
