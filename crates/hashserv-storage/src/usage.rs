//! How full a database is.

/// How many rows a table has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUsage {
    /// The table's name.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
}
