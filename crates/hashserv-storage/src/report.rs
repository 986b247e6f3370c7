//! What is recorded.

use crate::{OuthashKey, TaskKey, Timestamp, Unihash};

/// What a report may tell besides its hashes. Nothing of it decides anything; it is kept for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Who reported it.
    pub owner: Option<String>,
    /// The recipe's name.
    pub pn: Option<String>,
    /// The recipe's version.
    pub pv: Option<String>,
    /// The recipe's revision.
    pub pr: Option<String>,
    /// The task's name.
    pub task: Option<String>,
    /// The full text of what was hashed; it can be megabytes.
    pub outhash_siginfo: Option<String>,
}

/// A task was run and produced an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The method of all the hashes.
    pub method: String,
    /// The hash of the task's inputs.
    pub taskhash: String,
    /// The hash of what the task produced.
    pub outhash: String,
    /// The unihash for the taskhash, should it have none and nobody else have reported the outhash.
    pub unihash: Unihash,
    /// When it was reported.
    pub created: Timestamp,
    /// What else the report tells.
    pub details: Details,
}

impl Report {
    /// The key of the reported task.
    #[must_use]
    pub fn task_key(&self) -> TaskKey<'_> {
        TaskKey { method: &self.method, taskhash: &self.taskhash }
    }

    /// The key of the reported output.
    #[must_use]
    pub fn outhash_key(&self) -> OuthashKey<'_> {
        OuthashKey { method: &self.method, outhash: &self.outhash }
    }
}

/// A taskhash and the unihash that it is to have, where it has none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnihashEntry {
    /// The method of both hashes.
    pub method: String,
    /// The task.
    pub taskhash: String,
    /// Its unihash.
    pub unihash: Unihash,
}

impl UnihashEntry {
    /// The key of the task.
    #[must_use]
    pub fn task_key(&self) -> TaskKey<'_> {
        TaskKey { method: &self.method, taskhash: &self.taskhash }
    }
}
