//! Batches as JSON, which is how they pass into a fixed statement and out of it as one value.
//!
//! SQLite reads them with `json_each`; a statement for each key, or a row for each result, would cost far
//! more (every row is handed from SQLite's thread to ours).

use hashserv_storage::{Report, TaskKey, Unihash, UnihashEntry};
use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

/// Some items of a batch, separated by commas: batches of several callers are joined without a look inside.
#[derive(Debug, Default)]
pub(crate) struct Items {
    text: String,
    count: usize,
}

impl Items {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The length of the text.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The members of an object that has taskhashes for names and methods for values.
    ///
    /// `json_each` tells name and value of a member without another look into the text, which it needs for
    /// pairs in arrays. It lists the members as they stand, also those of equal names.
    pub(crate) fn of_task_keys<'a>(keys: impl IntoIterator<Item = TaskKey<'a>>) -> Self {
        let mut items = Items::default();
        for key in keys {
            items.begin();
            push_string(&mut items.text, key.taskhash);
            items.text.push(':');
            push_string(&mut items.text, key.method);
        }
        items
    }

    /// The elements of an array of texts.
    pub(crate) fn of_texts<T: std::fmt::Display>(texts: impl IntoIterator<Item = T>) -> Self {
        let mut items = Items::default();
        for text in texts {
            items.begin();
            push_string(&mut items.text, &text.to_string());
        }
        items
    }

    /// The elements of an array of arrays of texts.
    pub(crate) fn of_tuples<'a>(tuples: impl IntoIterator<Item = &'a [&'a str]>) -> Self {
        let mut items = Items::default();
        for tuple in tuples {
            items.begin();
            push_tuple(&mut items.text, tuple.iter().copied().map(Some));
        }
        items
    }

    /// Reports as arrays, in the order of the columns of the view that records them.
    pub(crate) fn of_reports(reports: &[Report]) -> Self {
        let mut items = Items::default();
        for report in reports {
            items.begin();
            let created = report.created.to_string();
            let unihash = report.unihash.to_string();
            let hashes = [&report.method, &report.taskhash, &report.outhash, &unihash, &created];
            let d = &report.details;
            let details = [&d.owner, &d.pn, &d.pv, &d.pr, &d.task, &d.outhash_siginfo];
            let texts = hashes.into_iter().map(|text| Some(text.as_str()));
            push_tuple(&mut items.text, texts.chain(details.into_iter().map(Option::as_deref)));
        }
        items
    }

    /// Entries as arrays of method, taskhash and unihash.
    pub(crate) fn of_entries(entries: &[UnihashEntry]) -> Self {
        let mut items = Items::default();
        for entry in entries {
            items.begin();
            let unihash = entry.unihash.to_string();
            push_tuple(&mut items.text, [&entry.method, &entry.taskhash, &unihash].map(|text| Some(&**text)));
        }
        items
    }

    fn begin(&mut self) {
        if self.count > 0 {
            self.text.push(',');
        }
        self.count += 1;
    }
}

/// All the items as one JSON array.
pub(crate) fn array<'a>(parts: impl IntoIterator<Item = &'a Items>) -> String {
    joined('[', parts, ']')
}

/// All the items as one JSON object.
pub(crate) fn object<'a>(parts: impl IntoIterator<Item = &'a Items>) -> String {
    joined('{', parts, '}')
}

fn joined<'a>(open: char, parts: impl IntoIterator<Item = &'a Items>, close: char) -> String {
    let mut text = String::from(open);
    for part in parts.into_iter().filter(|part| part.count > 0) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&part.text);
    }
    text.push(close);
    text
}

fn push_tuple<'a>(out: &mut String, texts: impl IntoIterator<Item = Option<&'a str>>) {
    out.push('[');
    for (index, text) in texts.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match text {
            Some(text) => push_string(out, text),
            None => out.push_str("null"),
        }
    }
    out.push(']');
}

/// Appends a JSON string.
fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        let byte = rest.as_bytes()[at];
        if byte < b' ' {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.push_str("\\u00");
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        } else {
            out.push('\\');
            out.push(char::from(byte));
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// A JSON array of these numbers.
pub(crate) fn numbers(numbers: &[i64]) -> String {
    let texts: Vec<String> = numbers.iter().map(i64::to_string).collect();
    format!("[{}]", texts.join(","))
}

/// A JSON array of unihashes and nulls.
pub(crate) fn parse_unihashes(json: &str) -> Result<Vec<Option<Unihash>>, serde_json::Error> {
    let unihashes: Vec<Option<StoredUnihash>> = serde_json::from_str(json)?;
    Ok(unihashes.into_iter().map(|unihash| unihash.map(|stored| stored.0)).collect())
}

/// A JSON array of numbers.
pub(crate) fn parse_numbers(json: &str) -> Result<Vec<i64>, serde_json::Error> {
    serde_json::from_str(json)
}

/// A unihash made from the text where it stands, without a copy.
struct StoredUnihash(Unihash);

impl<'de> Deserialize<'de> for StoredUnihash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = StoredUnihash;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("the text of a unihash")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StoredUnihash, E> {
                Ok(StoredUnihash(Unihash::from_stored(text)))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// Fails unless there is a result for each item.
pub(crate) fn expect_count<T>(results: Vec<T>, count: usize) -> Result<Vec<T>, serde_json::Error> {
    if results.len() == count {
        return Ok(results);
    }
    Err(serde_json::Error::custom(format!("{} results for {count} items", results.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_the_json_that_others_read() {
        for text in ["", "plain", "q\"uote \\ back", "\0\u{1}\n\u{1f}\u{7f}", "é😀\u{2028}", "\"", "a\nb\n"]
        {
            let mut json = String::new();
            push_string(&mut json, text);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }

    #[test]
    fn parts_are_joined_whether_empty_or_not() {
        let (none, one, two) = (Items::default(), Items::of_texts(["a"]), Items::of_texts(["b", "c"]));
        assert_eq!(array([&none, &one, &none, &two]), r#"["a","b","c"]"#);
        assert_eq!(array([&none]), "[]");
        let keys = Items::of_task_keys([TaskKey { method: "m", taskhash: "t" }]);
        assert_eq!(object([&keys, &keys]), r#"{"t":"m","t":"m"}"#);
    }

    #[test]
    fn unihashes_are_read_as_they_are_stored() {
        let json = r#"["aa", null, "\u0000\"x"]"#;
        let expected = [Some("aa"), None, Some("\0\"x")].map(|text| text.map(Unihash::from_stored));
        assert_eq!(parse_unihashes(json).unwrap(), expected);
    }
}
