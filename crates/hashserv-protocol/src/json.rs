//! JSON as BitBake writes it, pure ASCII, and what serde would let pass.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::de::value::MapDeserializer;
use serde::{Deserialize, Serialize};
use serde_json::ser::{Formatter, Serializer};
use serde_json::value::RawValue;

/// Appends a value to `out` as compact JSON in ASCII, so that characters and bytes are the same.
///
/// Blanks occur only within strings, which the cutting of long messages relies on.
pub(crate) fn append(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    value.serialize(&mut Serializer::with_formatter(out, Ascii))
}

/// Reads an object. Of a repeated key the last value counts, as for BitBake; serde refuses such objects, and
/// takes an array for the fields in their order.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    let kind = kind(text);
    if kind != "map" {
        return Err(format!("invalid type: {kind}, expected an object"));
    }
    serde_json::from_str(text).or_else(|error| last_values(text).map_err(|_| error.to_string()))
}

/// Reads an object as if of repeated keys there were only the last.
fn last_values<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    let members: BTreeMap<String, &'a RawValue> = serde_json::from_str(text)?;
    T::deserialize(MapDeserializer::new(members.into_iter()))
}

/// What a JSON text is. It is not quoted, as there may be a secret in it.
fn kind(text: &str) -> &'static str {
    match text.trim_ascii_start().bytes().next() {
        Some(b'{') => "map",
        Some(b'[') => "sequence",
        Some(b'"') => "string",
        Some(b'n') => "null",
        Some(b't' | b'f') => "boolean",
        _ => "number",
    }
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
