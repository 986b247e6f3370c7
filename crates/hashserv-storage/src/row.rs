//! What is read back in full.

use crate::{Details, Timestamp, Unihash, UnihashEntry};

/// A report as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OuthashRow {
    /// The number that the database gave to the row.
    pub id: i64,
    /// The method of all the hashes.
    pub method: String,
    /// The hash of the task's inputs.
    pub taskhash: String,
    /// The hash of what the task produced.
    pub outhash: String,
    /// When it was reported, where that is known.
    pub created: Option<Timestamp>,
    /// What else the report told.
    pub details: Details,
}

/// A report together with the unihash that its taskhash has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnifiedRow {
    /// The report.
    pub report: OuthashRow,
    /// The unihash of its taskhash.
    pub unihash: Unihash,
    /// The mark of the garbage collection that keeps the unihash; empty where there was none.
    pub gc_mark: String,
}

/// A task's unihash as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUnihash {
    /// The number that the database gave to the row: the newer the row, the higher.
    pub id: i64,
    /// The task and its unihash.
    pub entry: UnihashEntry,
}
