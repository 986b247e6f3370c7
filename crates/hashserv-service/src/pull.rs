//! What is asked of the upstream, and what is kept of its answers.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{
    Details, OuthashKey, OuthashRow, Report, Storage, StorageError, TaskKey, Timestamp, UnifiedRow, Unihash,
    UnihashEntry,
};

use crate::backfill::Backfill;
use crate::error::describe;
use crate::negative::NegativeMemory;
use crate::rate_limited_warning::RateLimitedWarning;
use crate::upstream::Upstream;

/// How much of an invalid unihash is told, in characters.
const QUOTED: usize = 80;

/// Completes local answers from an upstream.
///
/// An upstream that fails is no error here: the local answer stands.
#[derive(Debug)]
pub(crate) struct Pull {
    upstream: Arc<dyn Upstream>,
    storage: Arc<dyn Storage>,
    misses: NegativeMemory,
    backfill: Backfill,
    invalid: RateLimitedWarning,
    not_kept: RateLimitedWarning,
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
        Pull {
            upstream,
            storage,
            misses: NegativeMemory::new(negative_ttl),
            backfill,
            invalid: RateLimitedWarning::default(),
            not_kept: RateLimitedWarning::default(),
        }
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

    /// The unihash that a task has upstream. It is kept before this returns, where the database can do that.
    pub(crate) async fn unihash(&self, key: TaskKey<'_>) -> Option<Unihash> {
        if self.misses.contains(Question::Unihash(key)) {
            return None;
        }
        let unihash = self.ask_unihashes(&[key], &[0]).await.pop()?.1?;
        match self.storage.record_unihashes(vec![entry(key, unihash.clone())]).await {
            Ok(mut kept) => kept.pop(),
            Err(error) => {
                self.warn_not_kept(&error);
                Some(unihash)
            }
        }
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
        let answers = self.upstream.unihashes_exist(&asked).await;
        for (position, answer) in positions.into_iter().zip(answers) {
            let Ok(answer) = answer else { continue };
            exist[position] = answer;
            if !answer {
                self.misses.add(Question::Existence(&unihashes[position]));
            }
        }
    }

    /// The oldest report that the upstream has of a task, kept as [`kept`](Pull::kept) does.
    pub(crate) async fn task_row(&self, key: TaskKey<'_>) -> Option<UnifiedRow> {
        if self.misses.contains(Question::TaskRow(key)) {
            return None;
        }
        match self.upstream.task_row(key).await {
            Ok(Some(row)) if self.is_valid_row(&row) => self.kept(row, self.storage.task_row(key)).await,
            Ok(_) => {
                self.misses.add(Question::TaskRow(key));
                None
            }
            Err(_) => None,
        }
    }

    /// The oldest report that the upstream has of an output, kept as [`kept`](Pull::kept) does.
    pub(crate) async fn outhash_row(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<UnifiedRow> {
        let row = self.ask_outhash_row(key, taskhash).await?;
        self.kept(row, self.storage.unified_outhash_row(key)).await
    }

    /// The unihash of the oldest report that the upstream has of an output. Nothing is kept.
    pub(crate) async fn outhash_unihash(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Unihash> {
        self.ask_outhash_row(key, taskhash).await.map(|row| row.unihash.clone())
    }

    async fn ask_outhash_row(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Arc<UnifiedRow>> {
        if self.misses.contains(Question::OuthashRow(key)) {
            return None;
        }
        match self.upstream.outhash_row(key, taskhash).await {
            Ok(Some(row)) if self.is_valid_row(&row) => Some(row),
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
        let mut answers = Vec::with_capacity(asked.len());
        for (position, answer) in positions.iter().zip(self.upstream.unihashes(&asked).await) {
            let Ok(answer) = answer else { continue };
            let answer = answer.filter(|unihash| self.is_valid(unihash));
            if answer.is_none() {
                self.misses.add(Question::Unihash(keys[*position]));
            }
            answers.push((*position, answer));
        }
        answers
    }

    /// Keeps a row, and tells what there is to be read here afterwards. Where the database fails it is the row
    /// as the upstream has it: who reads is to get an answer on a full disk too.
    async fn kept(
        &self,
        row: Arc<UnifiedRow>,
        read: impl Future<Output = Result<Option<UnifiedRow>, StorageError>>,
    ) -> Option<UnifiedRow> {
        let written = self.keep(&row).await;
        let found = match written {
            Ok(()) => read.await,
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| {
            self.warn_not_kept(&error);
            Some(Arc::unwrap_or_clone(row))
        })
    }

    /// Keeps the unihash as the upstream has it, and the report with the time at which it was made there.
    async fn keep(&self, row: &UnifiedRow) -> Result<(), StorageError> {
        let OuthashRow { method, taskhash, outhash, created, details, .. } = row.report.clone();
        let unihash = row.unihash.clone();
        let created = created.unwrap_or_else(Timestamp::now);
        let report = Report { method, taskhash, outhash, unihash: unihash.clone(), created, details };
        // The unihash goes first: the report alone would be given that of an equivalent local one.
        self.storage.record_unihashes(vec![entry(report.task_key(), unihash)]).await?;
        self.storage.report(vec![report]).await?;
        Ok(())
    }

    fn warn_not_kept(&self, error: &StorageError) {
        self.not_kept.log(format_args!("an answer of the upstream was not kept: {}", describe(error)));
    }

    /// Whether a unihash of the upstream may be stored and passed on. BitBake expands unihashes as text in its
    /// configuration language: anything but hex digits would be run as code on every builder.
    fn is_valid(&self, unihash: &Unihash) -> bool {
        let valid = unihash.digest().is_some();
        if !valid {
            let shown: String = unihash.to_string().chars().take(QUOTED).collect();
            self.invalid.log(format_args!(
                "the upstream answered {shown:?}, which is no valid unihash; it counts as unknown"
            ));
        }
        valid
    }

    /// Whether a row of the upstream may be stored and passed on. Databases take no text with a NUL character.
    fn is_valid_row(&self, row: &UnifiedRow) -> bool {
        let OuthashRow { method, taskhash, outhash, details, .. } = &row.report;
        let Details { owner, pn, pv, pr, task, outhash_siginfo } = details;
        let details = [owner, pn, pv, pr, task, outhash_siginfo].into_iter().flatten();
        let has_nul = details.chain([method, taskhash, outhash]).any(|text| text.contains('\0'));
        if has_nul {
            self.invalid.log("the upstream answered a row with a NUL character; it counts as unknown");
        }
        !has_nul && self.is_valid(&row.unihash)
    }
}

fn entry(key: TaskKey<'_>, unihash: Unihash) -> UnihashEntry {
    UnihashEntry { method: key.method.to_owned(), taskhash: key.taskhash.to_owned(), unihash }
}
