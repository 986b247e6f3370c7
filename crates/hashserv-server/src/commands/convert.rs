//! Conversion of arguments to types of storage, and of stored rows to replies.

use hashserv_protocol::MAX_CONDITION;
use hashserv_protocol::arguments::{GcMark, Where};
use hashserv_protocol::reply::{Row, TaskUnihash};
use hashserv_storage::{Column, Conditions, MarkRequest, OuthashRow, TaskKey, UnifiedRow, Unihash};
use serde_json::Value;

use crate::refusal::Refused;

/// The conditions of a removal. A column that neither table has is refused: without it more would be removed than
/// was meant.
pub(crate) fn conditions_of_removal(wanted: Where<'_>) -> Result<Conditions, Refused> {
    if let Some(name) = wanted.keys().find(|name| Column::of_row(name).is_none()) {
        return Err(Refused::new(format!("Invalid condition: there is no column '{name}'")));
    }
    collect(wanted, Column::of_row)
}

/// The usable conditions of a mark. Unknown columns are none, as with BitBake's server: a mark without any matches
/// no row.
fn conditions_of_mark(wanted: Where<'_>) -> Result<Conditions, Refused> {
    collect(wanted, Column::from_name)
}

/// The conditions of columns that are found; `null` values are none.
fn collect(wanted: Where<'_>, find: impl Fn(&str) -> Option<Column>) -> Result<Conditions, Refused> {
    let known = wanted.into_iter().filter_map(|(name, value)| find(&name).map(|column| (column, value)));
    known.filter_map(|(column, value)| condition(column, value).transpose()).collect()
}

fn condition(column: Column, value: Value) -> Result<Option<(Column, String)>, Refused> {
    let refuse = |what: &str| {
        let name = column.name();
        Err(Refused::new(format!("Invalid condition: the value of '{name}' {what}")))
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.contains('\0') => refuse("has a NUL character"),
        Value::String(text) if text.len() > MAX_CONDITION => {
            refuse(&format!("is longer than {MAX_CONDITION} bytes"))
        }
        Value::String(text) => Ok(Some((column, text))),
        _ => refuse("must be a string"),
    }
}

/// Converts a mark, in a message or on a line of `gc-mark-stream`.
pub(crate) fn mark_request(arguments: GcMark<'_>) -> Result<MarkRequest, Refused> {
    let conditions = conditions_of_mark(arguments.conditions)?;
    Ok(MarkRequest { conditions, mark: arguments.mark.into_owned() })
}

/// A report alone.
pub(crate) fn outhash_row(row: OuthashRow) -> Row {
    Row {
        id: row.id,
        method: row.method,
        taskhash: row.taskhash,
        outhash: row.outhash,
        created: row.created.map(|created| created.to_string()),
        owner: row.details.owner,
        pn: row.details.pn,
        pv: row.details.pv,
        pr: row.details.pr,
        task: row.details.task,
        outhash_siginfo: row.details.outhash_siginfo,
        unihash: None,
        gc_mark: None,
    }
}

/// A report with the unihash of its task.
pub(crate) fn unified_row(row: UnifiedRow) -> Row {
    Row { unihash: Some(row.unihash.to_string()), gc_mark: Some(row.gc_mark), ..outhash_row(row.report) }
}

/// A task and its unihash.
pub(crate) fn task_unihash(key: TaskKey<'_>, unihash: &Unihash) -> TaskUnihash {
    TaskUnihash {
        taskhash: key.taskhash.to_owned(),
        method: key.method.to_owned(),
        unihash: unihash.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(text: &str) -> Result<Conditions, Refused> {
        conditions_of_mark(serde_json::from_str(text).unwrap())
    }

    fn removal(text: &str) -> Result<Conditions, Refused> {
        conditions_of_removal(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn unknown_columns_and_nulls_are_no_conditions_of_a_mark() {
        let conditions = mark(r#"{"unihash": "u", "PN": null, "nonsense": 1, "id": "5"}"#).unwrap();
        assert_eq!(conditions, [(Column::Unihash, "u".to_owned())].into_iter().collect());
    }

    #[test]
    fn unknown_columns_of_a_removal_are_refused_by_name() {
        for text in [r#"{"method": "m", "PNN": "x"}"#, r#"{"PNN": null}"#, r#"{"PNN": 5}"#] {
            assert_eq!(
                removal(text).unwrap_err(),
                Refused::new("Invalid condition: there is no column 'PNN'")
            );
        }
        let conditions = removal(r#"{"id": "5", "created": "x", "PN": null}"#).unwrap();
        let wanted = [(Column::Created, "x".to_owned()), (Column::Id, "5".to_owned())];
        assert_eq!(conditions, wanted.into_iter().collect());
        assert_eq!(removal("{}").unwrap(), Conditions::default());
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for text in [r#"{"method": []}"#, r#"{"method": 5}"#, r#"{"PN": true}"#, r#"{"task": "a\u0000"}"#] {
            for refused in [mark(text), removal(text)] {
                let message = refused.unwrap_err().message().to_owned();
                assert!(message.starts_with("Invalid condition: the value of '"), "{message}");
            }
        }
    }

    #[test]
    fn values_have_their_bound_and_no_byte_more() {
        let of = |length: usize| removal(&format!(r#"{{"outhash_siginfo": "{}"}}"#, "x".repeat(length)));
        assert!(of(MAX_CONDITION).is_ok());
        let message = of(MAX_CONDITION + 1).unwrap_err().message().to_owned();
        assert_eq!(message, "Invalid condition: the value of 'outhash_siginfo' is longer than 65536 bytes");
    }
}
