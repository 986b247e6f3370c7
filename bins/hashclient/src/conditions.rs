//! Conditions on rows, from words.

use std::borrow::Cow;

use hashserv_protocol::arguments::Where;

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

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

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
}
