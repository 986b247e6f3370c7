//! Conditions on rows, from words.

use std::borrow::Cow;

use hashserv_client::{Client, Where};

use crate::failure::Failure;
use crate::older_servers::may_lack;

/// Columns of servers that cannot be asked for them.
const OLDER_SERVERS_COLUMNS: [&str; 10] =
    ["method", "taskhash", "unihash", "outhash", "owner", "PN", "PV", "PR", "task", "outhash_siginfo"];

/// Further columns that removals may name.
const REMOVAL_COLUMNS: [&str; 2] = ["id", "created"];

/// Columns of what is marked.
const MARKING_COLUMNS: [&str; 4] = ["method", "taskhash", "unihash", "gc_mark"];

/// Conditions from columns and values in turn. A column that comes twice is refused: that the last one counted
/// would remove what nobody asked for.
pub(crate) fn conditions(words: Vec<String>) -> Result<Where<'static>, String> {
    let mut conditions = Where::new();
    let mut words = words.into_iter();
    while let Some(column) = words.next() {
        let Some(value) = words.next() else { return Err(format!("the column '{column}' has no value")) };
        if conditions.insert(Cow::Owned(column.clone()), value.into()).is_some() {
            return Err(format!("the column '{column}' is given twice"));
        }
    }
    Ok(conditions)
}

/// Columns that the server knows. Older servers ignore conditions on others, and so remove more than was meant.
pub(crate) struct Columns {
    names: Vec<String>,
    /// Set where the server told them, and not only others of its kind.
    are_listed: bool,
}

impl Columns {
    /// Asks the server.
    pub(crate) async fn of(client: &mut Client) -> Result<Self, Failure> {
        match client.db_query_columns().await {
            Ok(mut columns) => {
                columns.sort_unstable();
                Ok(Columns { names: columns, are_listed: true })
            }
            Err(error) if may_lack(&error) => {
                tracing::info!(%error, "the server does not list its columns, using those of older servers");
                Ok(Columns { names: OLDER_SERVERS_COLUMNS.map(str::to_owned).to_vec(), are_listed: false })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses conditions of a removal on what is no column.
    pub(crate) fn check_removal(&self, conditions: &Where<'_>) -> Result<(), String> {
        self.check(conditions, &REMOVAL_COLUMNS)
    }

    /// Refuses conditions on what is no column, and those that mark nothing.
    pub(crate) fn check_marking(&self, conditions: &Where<'_>) -> Result<(), String> {
        self.check(conditions, &[])?;
        if conditions.keys().any(|column| MARKING_COLUMNS.contains(&column.as_ref())) {
            return Ok(());
        }
        let given = conditions.keys().map(|column| format!("'{column}'")).collect::<Vec<_>>().join(", ");
        Err(format!("nothing is marked by {given} alone: use one of {}", MARKING_COLUMNS.join(", ")))
    }

    fn check(&self, conditions: &Where<'_>, further: &[&str]) -> Result<(), String> {
        let is_known =
            |column: &str| further.contains(&column) || self.names.iter().any(|known| known == column);
        match conditions.keys().find(|column| !is_known(column)) {
            None => Ok(()),
            Some(column) => Err(self.lack(column)),
        }
    }
}

impl Columns {
    /// Tells that a column is not among these.
    fn lack(&self, column: &str) -> String {
        let names = self.names.join(", ");
        match self.are_listed {
            true => format!("the server has no column '{column}', only {names}"),
            false => format!(
                "the server did not tell its columns, and '{column}' may be none of them; each server has {names}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, client};

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    fn parsed(text: &str) -> Where<'static> {
        conditions(words(text)).unwrap()
    }

    const LISTING: Answer = |_| Some(r#"{"columns": ["unihash", "PN", "method"]}"#.to_owned());
    const CLOSING: Answer = |_| None;

    #[test]
    fn columns_and_values_come_in_turn() {
        let parsed = conditions(words("method m unihash u")).unwrap();
        assert_eq!(serde_json::to_string(&parsed).unwrap(), r#"{"method":"m","unihash":"u"}"#);
        assert!(conditions(Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        assert_eq!(conditions(words("method m unihash")).unwrap_err(), "the column 'unihash' has no value");
        assert_eq!(conditions(words("a b a c")).unwrap_err(), "the column 'a' is given twice");
    }

    #[tokio::test]
    async fn unknown_column_is_refused() {
        let columns = Columns::of(&mut client(&[LISTING])).await.unwrap();
        columns.check_removal(&parsed("id 5 created now PN p")).unwrap();
        columns.check_marking(&parsed("PN p method m")).unwrap();
        let expected = "the server has no column 'PNN', only PN, method, unihash";
        assert_eq!(columns.check_removal(&parsed("PNN p method m")).unwrap_err(), expected);
        assert_eq!(columns.check_marking(&parsed("PNN p method m")).unwrap_err(), expected);
        assert!(columns.check_marking(&parsed("id 5 method m")).is_err());
    }

    #[tokio::test]
    async fn condition_that_marks_nothing_is_refused() {
        let columns = Columns::of(&mut client(&[LISTING])).await.unwrap();
        let refused = columns.check_marking(&parsed("PN p")).unwrap_err();
        assert!(refused.starts_with("nothing is marked by 'PN' alone"), "{refused}");
    }

    #[tokio::test]
    async fn older_servers_have_known_columns() {
        let columns = Columns::of(&mut client(&[CLOSING; 4])).await.unwrap();
        columns.check_removal(&parsed("outhash o")).unwrap();
        let told = columns.check_marking(&parsed("gc_mark M")).unwrap_err();
        assert!(told.starts_with("the server did not tell its columns, and 'gc_mark' may be none"), "{told}");
    }
}
