//! JSON as BitBake writes it, pure ASCII, and what serde would let pass.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Appends a value to `out` as compact JSON in ASCII, so that characters and bytes are the same.
///
/// Blanks occur only within strings, which the cutting of long messages relies on.
pub(crate) fn append(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(out, Ascii))
}

/// Whether a JSON text is an array, which serde takes for the fields of a struct in their order.
pub(crate) fn is_array(text: &str) -> bool {
    text.trim_ascii_start().starts_with('[')
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii() || byte == 0x7f) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let Some(character) = rest[at..].chars().next() else { break };
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_becomes_ascii_and_comes_back(text in any::<String>()) {
            let mut out = Vec::new();
            append(&text, &mut out).unwrap();
            prop_assert!(out.iter().all(|byte| (b' '..0x7f).contains(byte)));
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
