//! What is asked of the upstream, and what is kept of its answers.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{
    OuthashKey, Report, Storage, StorageError, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry,
};
use tracing::warn;

use crate::backfill::Backfill;
use crate::negative::NegativeMemory;
use crate::upstream::Upstream;

/// Completes local answers from an upstream.
///
/// An upstream that fails is no error here: the local answer stands.
#[derive(Debug)]
pub(crate) struct Pull {
    upstream: Arc<dyn Upstream>,
    storage: Arc<dyn Storage>,
    misses: NegativeMemory,
    backfill: Backfill,
}

/// What was asked, as the memory of misses tells questions apart.
#[derive(Clone, Copy, Hash)]
enum Question<'a> {
    Unihash(TaskKey<'a>),
    TaskRow(TaskKey<'a>),
    OuthashRow(OuthashKey<'a>),
    Existence(&'a Unihash),
}

impl Pull {
    pub(crate) fn new(
        upstream: Arc<dyn Upstream>,
        storage: Arc<dyn Storage>,
        negative_ttl: Duration,
    ) -> Self {
        let backfill = Backfill::start(storage.clone());
        Pull { upstream, storage, misses: NegativeMemory::new(negative_ttl), backfill }
    }

    pub(crate) fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    pub(crate) async fn close(&self, limit: Duration) {
        self.upstream.close().await;
        self.backfill.close(limit).await;
    }

    /// Completes what is missing among the unihashes of tasks. What the upstream knows is kept in the
    /// background: the answer does not wait for the write.
    pub(crate) async fn complete_unihashes(&self, keys: &[TaskKey<'_>], found: &mut [Option<Unihash>]) {
        let mut positions: Vec<usize> = Vec::new();
        for (position, key) in keys.iter().enumerate() {
            if found[position].is_none() && !self.misses.contains(Question::Unihash(*key)) {
                positions.push(position);
            }
        }
        let mut kept = Vec::new();
        for (position, unihash) in self.ask_unihashes(keys, &positions).await {
            if let Some(unihash) = &unihash {
                kept.push(entry(keys[position], unihash.clone()));
            }
            found[position] = unihash;
        }
        self.backfill.add(kept);
    }

    /// The unihash that a task has upstream, once it is kept here.
    pub(crate) async fn unihash(&self, key: TaskKey<'_>) -> Result<Option<Unihash>, StorageError> {
        if self.misses.contains(Question::Unihash(key)) {
            return Ok(None);
        }
        let Some((_, Some(unihash))) = self.ask_unihashes(&[key], &[0]).await.pop() else { return Ok(None) };
        Ok(self.storage.record_unihashes(vec![entry(key, unihash)]).await?.pop())
    }

    /// Completes what is missing among the answers whether unihashes exist. Nothing is kept of it.
    pub(crate) async fn complete_existence(&self, unihashes: &[Unihash], exist: &mut [bool]) {
        let mut positions: Vec<usize> = Vec::new();
        for (position, unihash) in unihashes.iter().enumerate() {
            if !exist[position] && !self.misses.contains(Question::Existence(unihash)) {
                positions.push(position);
            }
        }
        if positions.is_empty() {
            return;
        }
        let asked: Vec<Unihash> = positions.iter().map(|position| unihashes[*position].clone()).collect();
        let Ok(answers) = self.upstream.unihashes_exist(&asked).await else { return };
        for (position, answer) in positions.into_iter().zip(answers) {
            exist[position] = answer;
            if !answer {
                self.misses.add(Question::Existence(&unihashes[position]));
            }
        }
    }

    /// Keeps the oldest report that the upstream has of a task; tells whether there was one.
    pub(crate) async fn keep_task_row(&self, key: TaskKey<'_>) -> Result<bool, StorageError> {
        if self.misses.contains(Question::TaskRow(key)) {
            return Ok(false);
        }
        match self.upstream.task_row(key).await {
            Ok(Some(row)) if is_valid(&row.unihash) => self.keep(row).await.map(|()| true),
            Ok(_) => {
                self.misses.add(Question::TaskRow(key));
                Ok(false)
            }
            Err(_) => Ok(false),
        }
    }

    /// Keeps the oldest report that the upstream has of an output; tells whether there was one.
    pub(crate) async fn keep_outhash_row(
        &self,
        key: OuthashKey<'_>,
        taskhash: &str,
    ) -> Result<bool, StorageError> {
        match self.outhash_row(key, taskhash).await {
            Some(row) => self.keep(row).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// The unihash of the oldest report that the upstream has of an output. Nothing is kept.
    pub(crate) async fn outhash_unihash(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Unihash> {
        self.outhash_row(key, taskhash).await.map(|row| row.unihash.clone())
    }

    async fn outhash_row(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Arc<UnifiedRow>> {
        if self.misses.contains(Question::OuthashRow(key)) {
            return None;
        }
        match self.upstream.outhash_row(key, taskhash).await {
            Ok(Some(row)) if is_valid(&row.unihash) => Some(row),
            Ok(_) => {
                self.misses.add(Question::OuthashRow(key));
                None
            }
            Err(_) => None,
        }
    }

    /// Asks for the unihashes of the tasks at these positions, and remembers those that are not known.
    async fn ask_unihashes(
        &self,
        keys: &[TaskKey<'_>],
        positions: &[usize],
    ) -> Vec<(usize, Option<Unihash>)> {
        if positions.is_empty() {
            return Vec::new();
        }
        let asked: Vec<TaskKey<'_>> = positions.iter().map(|position| keys[*position]).collect();
        let Ok(answers) = self.upstream.unihashes(&asked).await else { return Vec::new() };
        let answers = answers.into_iter().map(|answer| answer.filter(is_valid));
        let answers: Vec<_> = positions.iter().copied().zip(answers).collect();
        for (position, answer) in &answers {
            if answer.is_none() {
                self.misses.add(Question::Unihash(keys[*position]));
            }
        }
        answers
    }

    /// Keeps the unihash as the upstream has it, and the report with the time at which it was made there.
    async fn keep(&self, row: Arc<UnifiedRow>) -> Result<(), StorageError> {
        let row = Arc::unwrap_or_clone(row);
        let report = Report {
            method: row.report.method,
            taskhash: row.report.taskhash,
            outhash: row.report.outhash,
            unihash: row.unihash.clone(),
            created: row.report.created.unwrap_or_else(Timestamp::now),
            details: row.report.details,
        };
        // The unihash goes first: the report alone would be given that of an equivalent local one.
        self.storage.record_unihashes(vec![entry(report.task_key(), row.unihash)]).await?;
        self.storage.report(vec![report]).await?;
        Ok(())
    }
}

/// Whether a unihash of the upstream may be stored and passed on. BitBake expands unihashes as text in its
/// configuration language: anything but hex digits would be run as code on every builder.
fn is_valid(unihash: &Unihash) -> bool {
    let valid = unihash.digest().is_some();
    if !valid {
        let shown: String = unihash.to_string().chars().take(80).collect();
        warn!("the upstream answered {shown:?}, which is no valid unihash; it counts as unknown");
    }
    valid
}

fn entry(key: TaskKey<'_>, unihash: Unihash) -> UnihashEntry {
    UnihashEntry { method: key.method.to_owned(), taskhash: key.taskhash.to_owned(), unihash }
}
