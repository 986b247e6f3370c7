//! What the indexes of the tables are good for; they are the same on every backend.

use hashserv_storage::Column;

/// Whether an index leads to few rows.
pub(crate) fn has_index(columns: &[Column]) -> bool {
    let has = |column| columns.contains(&column);
    has(Column::Unihash) || has(Column::Method) && (has(Column::Taskhash) || has(Column::Outhash))
}
