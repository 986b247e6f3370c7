//! Comparing what came with what was recorded, placeholders included.

use std::collections::HashMap;

use serde_json::Value;

/// The tokens that placeholders stand for.
#[derive(Debug, Default)]
pub(super) struct Tokens(HashMap<String, String>);

impl Tokens {
    /// A line to send, with tokens in the place of their names.
    pub(super) fn fill_in(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, (name, token)| line.replace(name, token))
    }

    /// Whether a received line is what is expected: equal as JSON if both are, else as text.
    pub(super) fn line_matches(&mut self, expected: &str, received: &str) -> bool {
        match (serde_json::from_str(expected), serde_json::from_str(received)) {
            (Ok(expected), Ok(received)) => self.matches(&expected, &received),
            _ => expected == received,
        }
    }

    fn matches(&mut self, expected: &Value, received: &Value) -> bool {
        match (expected, received) {
            (Value::String(expected), received) if expected.starts_with("<<") => {
                self.placeholder_matches(expected, received)
            }
            (Value::Array(expected), Value::Array(received)) => self.array_matches(expected, received),
            (Value::Object(expected), Value::Object(received)) => {
                expected.len() == received.len()
                    && expected.iter().all(|(key, value)| {
                        received.get(key).is_some_and(|received| self.matches(value, received))
                    })
            }
            _ => expected == received,
        }
    }

    fn array_matches(&mut self, expected: &[Value], received: &[Value]) -> bool {
        let any_order = expected.first().is_some_and(|first| first == "<<any-order>>");
        let expected = if any_order { &expected[1..] } else { expected };
        if expected.len() != received.len() {
            return false;
        }
        if !any_order {
            return expected
                .iter()
                .zip(received)
                .all(|(expected, received)| self.matches(expected, received));
        }
        let mut left: Vec<&Value> = received.iter().collect();
        expected.iter().all(|expected| {
            let place = left.iter().position(|received| self.matches(expected, received));
            place.map(|place| left.remove(place)).is_some()
        })
    }

    fn placeholder_matches(&mut self, placeholder: &str, received: &Value) -> bool {
        match placeholder {
            "<<int>>" => received.is_u64(),
            "<<number>>" => received.as_f64().is_some_and(|number| number >= 0.0),
            "<<time>>" => received.as_str().is_some_and(is_time),
            _ if placeholder.starts_with("<<token:") => {
                received.as_str().is_some_and(|token| self.token_matches(placeholder, token))
            }
            _ => panic!("unknown placeholder {placeholder}"),
        }
    }

    fn token_matches(&mut self, name: &str, token: &str) -> bool {
        let well_formed = token.len() == 64
            && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_');
        well_formed && self.0.entry(name.to_owned()).or_insert_with(|| token.to_owned()) == token
    }
}

/// `2024-01-02T03:04:05.678901+00:00`, or without the fraction where that is zero.
fn is_time(text: &str) -> bool {
    let shape: String =
        text.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    shape == "0000-00-00T00:00:00.000000+00:00" || shape == "0000-00-00T00:00:00+00:00"
}

#[test]
fn placeholders_match_what_they_stand_for_and_nothing_else() {
    let mut tokens = Tokens::default();
    let (one, other) = ("a".repeat(64), "b".repeat(64));
    for (expected, received, same) in [
        ("<<int>>", "7".to_owned(), true),
        ("<<int>>", "-7".to_owned(), false),
        ("<<number>>", "0.5".to_owned(), true),
        ("<<time>>", "\"2024-01-02T03:04:05.678901+00:00\"".to_owned(), true),
        ("<<time>>", "\"2024-01-02 03:04:05.678901\"".to_owned(), false),
        ("<<token:a>>", format!("\"{one}\""), true),
        ("<<token:a>>", format!("\"{other}\""), false),
        ("<<token:b>>", "\"short\"".to_owned(), false),
    ] {
        assert_eq!(tokens.line_matches(&format!("\"{expected}\""), &received), same, "{expected} {received}");
    }
    assert!(tokens.line_matches(r#"["<<any-order>>", 1, 2]"#, "[2, 1]"));
    assert!(!tokens.line_matches(r#"["<<any-order>>", 1, 2]"#, "[2, 2]"));
    assert!(!tokens.line_matches(r#"{"a": 1}"#, r#"{"a": 1, "b": 2}"#));
    assert_eq!(tokens.fill_in("<<token:a>>!"), format!("{one}!"));
}
