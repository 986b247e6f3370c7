//! Which rows an administrator means.

/// A column that a condition may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named after the columns, which the module of rows explains")]
pub enum Column {
    Method,
    Taskhash,
    Unihash,
    GcMark,
    Outhash,
    Owner,
    Pn,
    Pv,
    Pr,
    Task,
    OuthashSiginfo,
    Id,
    Created,
}

impl Column {
    /// All columns that a condition of a mark may name. One of a removal may name every column.
    pub const ALL: [Column; 11] = [
        Column::Method,
        Column::Taskhash,
        Column::Unihash,
        Column::GcMark,
        Column::Outhash,
        Column::Owner,
        Column::Pn,
        Column::Pv,
        Column::Pr,
        Column::Task,
        Column::OuthashSiginfo,
    ];

    /// The column's name, in the database and for peers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Column::Method => "method",
            Column::Taskhash => "taskhash",
            Column::Unihash => "unihash",
            Column::GcMark => "gc_mark",
            Column::Outhash => "outhash",
            Column::Owner => "owner",
            Column::Pn => "PN",
            Column::Pv => "PV",
            Column::Pr => "PR",
            Column::Task => "task",
            Column::OuthashSiginfo => "outhash_siginfo",
            Column::Id => "id",
            Column::Created => "created",
        }
    }

    /// The column of that name, of all that rows have.
    #[must_use]
    pub fn of_row(name: &str) -> Option<Self> {
        Column::from_name(name)
            .or_else(|| [Column::Id, Column::Created].into_iter().find(|column| column.name() == name))
    }

    /// The column of that name, of those that a mark may name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Column::ALL.into_iter().find(|column| column.name() == name)
    }

    /// Whether the table of unihashes has the column.
    #[must_use]
    pub fn is_of_unihashes(self) -> bool {
        matches!(self, Column::Method | Column::Taskhash | Column::Unihash | Column::GcMark | Column::Id)
    }

    /// Whether the table of outhashes has the column.
    #[must_use]
    pub fn is_of_outhashes(self) -> bool {
        !matches!(self, Column::Unihash | Column::GcMark)
    }
}

/// Columns and the values that they must all have.
///
/// Each table looks only at the columns that it has; a table none of whose columns is named matches no row.
///
/// ```
/// use hashserv_storage::{Column, Conditions};
///
/// let conditions: Conditions = [(Column::Taskhash, "t".to_owned()), (Column::Outhash, "o".to_owned())].into_iter().collect();
/// assert_eq!(conditions.of_unihashes().count(), 1);
/// assert_eq!(conditions.of_outhashes().count(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<(Column, String)>);

impl Conditions {
    /// The conditions that the table of unihashes looks at.
    pub fn of_unihashes(&self) -> impl Iterator<Item = (Column, &str)> {
        self.iter().filter(|(column, _)| column.is_of_unihashes())
    }

    /// The conditions that the table of outhashes looks at.
    pub fn of_outhashes(&self) -> impl Iterator<Item = (Column, &str)> {
        self.iter().filter(|(column, _)| column.is_of_outhashes())
    }

    fn iter(&self) -> impl Iterator<Item = (Column, &str)> {
        self.0.iter().map(|(column, value)| (*column, value.as_str()))
    }
}

impl FromIterator<(Column, String)> for Conditions {
    /// Of several values for one column the last counts.
    fn from_iter<I: IntoIterator<Item = (Column, String)>>(conditions: I) -> Self {
        let mut result: Vec<(Column, String)> = Vec::new();
        for (column, value) in conditions {
            match result.iter_mut().find(|(known, _)| *known == column) {
                Some((_, known)) => *known = value,
                None => result.push((column, value)),
            }
        }
        Conditions(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_name_and_a_table() {
        for column in Column::ALL {
            assert_eq!(Column::from_name(column.name()), Some(column));
            assert!(column.is_of_outhashes() || column.is_of_unihashes());
        }
        assert_eq!(Column::from_name("pn"), None);
        assert_eq!(Column::from_name("id"), None);
        assert_eq!(Column::of_row("id"), Some(Column::Id));
        assert_eq!(Column::of_row("created"), Some(Column::Created));
        assert_eq!(Column::of_row("Id"), None);
    }

    #[test]
    fn of_several_values_the_last_counts() {
        let conditions: Conditions =
            [(Column::Method, "a".to_owned()), (Column::Method, "b".to_owned())].into_iter().collect();
        assert_eq!(conditions.of_unihashes().collect::<Vec<_>>(), [(Column::Method, "b")]);
    }
}
