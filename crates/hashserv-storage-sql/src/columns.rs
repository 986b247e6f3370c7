//! Columns in statements, and what the indexes of the tables are good for; the same on every backend.

use hashserv_storage::Column;

/// The columns of conditions in a fixed order, and what they must be: equal columns make equal statements.
pub(crate) fn columns_and_values<'a>(
    conditions: impl Iterator<Item = (Column, &'a str)>,
) -> (Vec<Column>, Vec<&'a str>) {
    let mut conditions: Vec<_> = conditions.collect();
    conditions.sort_unstable();
    conditions.into_iter().unzip()
}

/// Whether an index leads to few rows.
pub(crate) fn has_index(columns: &[Column]) -> bool {
    let has = |column| columns.contains(&column);
    has(Column::Unihash) || has(Column::Method) && (has(Column::Taskhash) || has(Column::Outhash))
}
