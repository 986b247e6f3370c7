//! Conditions of requests made conditions of storage.

use hashserv_protocol::arguments::Where;
use hashserv_storage::{Column, Conditions};
use serde_json::Value;

use crate::refusal::Refused;

/// The usable conditions: unknown columns and `null` values are none.
pub(crate) fn conditions(wanted: Where<'_>) -> Result<Conditions, Refused> {
    wanted.into_iter().filter_map(|(name, value)| condition(&name, value).transpose()).collect()
}

fn condition(name: &str, value: Value) -> Result<Option<(Column, String)>, Refused> {
    match (Column::from_name(name), value) {
        (None, _) | (_, Value::Null) => Ok(None),
        (Some(_), Value::String(text)) if text.contains('\0') => {
            Err(Refused::new(format!("Invalid condition: the value of '{name}' has a NUL character")))
        }
        (Some(column), Value::String(text)) => Ok(Some((column, text))),
        (Some(_), _) => {
            Err(Refused::new(format!("Invalid condition: the value of '{name}' must be a string")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Conditions, Refused> {
        conditions(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn unknown_columns_and_nulls_are_no_conditions() {
        let conditions = parse(r#"{"unihash": "u", "PN": null, "nonsense": 1, "id": "5"}"#).unwrap();
        assert_eq!(conditions, [(Column::Unihash, "u".to_owned())].into_iter().collect());
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for text in [r#"{"method": []}"#, r#"{"method": 5}"#, r#"{"PN": true}"#, r#"{"task": "a\u0000"}"#] {
            let message = parse(text).unwrap_err().message().to_owned();
            assert!(message.starts_with("Invalid condition: the value of '"), "{message}");
        }
    }
}
