//! What the upstream does not know either.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::table::Table;

/// How many misses are remembered: 32 bytes each and its share of the index.
const MAX_ENTRIES: usize = 100_000;

/// Remembers for a short while what the upstream did not know, so that a wave of unknown hashes is not
/// asked again and again.
#[derive(Debug)]
pub(crate) struct NegativeMemory {
    ttl: Duration,
    /// By a hash of the question. Should two questions share one, a hash that is known upstream counts as
    /// unknown for the time to live, which costs an artefact and breaks nothing.
    until: RwLock<Table<u64, Instant>>,
    hasher: RandomState,
}

impl NegativeMemory {
    /// Remembers misses for `ttl`; zero remembers none.
    pub(crate) fn new(ttl: Duration) -> Self {
        NegativeMemory { ttl, until: RwLock::new(Table::new(MAX_ENTRIES)), hasher: RandomState::new() }
    }

    /// Whether the upstream lately did not know the answer to the question.
    pub(crate) fn contains(&self, question: impl Hash) -> bool {
        if self.ttl.is_zero() {
            return false;
        }
        let until = self.until.read().unwrap_or_else(PoisonError::into_inner);
        until.get(self.hasher.hash_one(question)).is_some_and(|until| Instant::now() < until)
    }

    /// Remembers that the upstream did not know the answer to the question.
    pub(crate) fn add(&self, question: impl Hash) {
        if !self.ttl.is_zero() {
            let mut until = self.until.write().unwrap_or_else(PoisonError::into_inner);
            until.insert(self.hasher.hash_one(question), Instant::now() + self.ttl);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_miss_is_remembered_for_its_time() {
        let memory = NegativeMemory::new(Duration::from_secs(30));
        assert!(!memory.contains(("m", "t")));
        memory.add(("m", "t"));
        assert!(memory.contains(("m", "t")));
        assert!(!memory.contains(("m", "other")));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(!memory.contains(("m", "t")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_of_zero_remembers_nothing() {
        let memory = NegativeMemory::new(Duration::ZERO);
        memory.add(("m", "t"));
        assert!(!memory.contains(("m", "t")));
    }
}
