//! Garbage collection: mark what is in use, then sweep the rest.

use crate::Conditions;

/// Asks that the matching unihashes carry a mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkRequest {
    /// The mark; it becomes the current one. Another mark than the current one starts a new collection.
    pub mark: String,
    /// Which unihashes to mark. Without a usable condition none is marked, but the mark is current all the same.
    pub conditions: Conditions,
}

/// How far a collection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcStatus {
    /// The current mark, while a collection is in progress.
    pub mark: Option<String>,
    /// How many unihashes carry the current mark, or no mark where there is no current one.
    pub keep: u64,
    /// How many others there are.
    pub remove: u64,
}

/// What became of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// So many unihashes were removed, and no collection is in progress any more.
    Done(u64),
    /// The mark is not (or no longer) the current one; the collection of the current mark is not touched.
    NotCurrentMark,
}
