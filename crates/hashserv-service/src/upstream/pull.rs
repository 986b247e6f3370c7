//! What is asked of the upstream, and what is kept of its answers.

use std::sync::Arc;
use std::time::Duration;

use hashserv_log::one_line;
use hashserv_storage::{MAX_BATCH, OuthashKey, Storage, StorageError, TaskKey, UnifiedRow, Unihash};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::backfill::{Backfill, Item};
use super::negative::NegativeMemory;
use super::vetting::{Vetting, plausible_time, report_of};
use super::{LateAnswers, Upstream};

/// Completes local answers from an upstream.
///
/// An upstream that fails is no error here: the local answer stands. Every call returns within the upstream's
/// [time limit](Upstream::timeout), also where the database is slow to write: what was not written by then is
/// written in the background.
#[derive(Debug)]
pub(crate) struct Pull {
    upstream: Arc<dyn Upstream>,
    storage: Arc<dyn Storage>,
    misses: NegativeMemory,
    keeping: Arc<Keeping>,
}

/// A question whose miss is remembered.
///
/// Misses of outputs are not among them: a report that found a stale one would part its task from the upstream
/// for good.
#[derive(Clone, Copy, Hash)]
enum Question<'a> {
    Unihash(TaskKey<'a>),
    TaskRow(TaskKey<'a>),
    Existence(&'a Unihash),
}

impl Pull {
    pub(crate) fn new(
        upstream: Arc<dyn Upstream>,
        storage: Arc<dyn Storage>,
        negative_ttl: Duration,
    ) -> Self {
        let keeping =
            Arc::new(Keeping { backfill: Backfill::start(storage.clone()), vetting: Vetting::default() });
        upstream.keep_late(keeping.clone());
        Pull { upstream, storage, misses: NegativeMemory::new(negative_ttl), keeping }
    }

    pub(crate) fn backfill(&self) -> &Backfill {
        &self.keeping.backfill
    }

    pub(crate) fn asks_in_circle(&self, via: &[u64]) -> bool {
        self.upstream.asks_in_circle(via)
    }

    pub(crate) async fn close(&self, limit: Duration) {
        self.upstream.close().await;
        self.backfill().close(limit).await;
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
                kept.extend(self.keeping.item(keys[position], unihash));
            }
            found[position] = unihash;
        }
        self.backfill().add(kept);
    }

    /// Returns the unihash that a task has upstream. It is kept before this returns, where the database does
    /// that in time.
    pub(crate) async fn unihash(&self, key: TaskKey<'_>) -> Option<Unihash> {
        if self.misses.contains(Question::Unihash(key)) {
            return None;
        }
        let deadline = self.deadline();
        let unihash = self.ask_unihashes(&[key], &[0]).await.pop()?.1?;
        let Some(item) = self.keeping.item(key, &unihash) else { return Some(unihash) };
        let read = async { Ok(self.storage.unihashes(&[key]).await?.pop().flatten()) };
        Some(self.kept(item, deadline, read).await.unwrap_or(unihash))
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

    /// Returns the oldest report that the upstream has of a task, kept as [`row`](Pull::row) does.
    pub(crate) async fn task_row(&self, key: TaskKey<'_>) -> Option<UnifiedRow> {
        if self.misses.contains(Question::TaskRow(key)) {
            return None;
        }
        let deadline = self.deadline();
        match self.upstream.task_row(key).await {
            Ok(Some(row)) if self.keeping.vetting.accepts_row(&row) => {
                Some(self.row(row, deadline, self.storage.task_row(key)).await)
            }
            Ok(_) => {
                self.misses.add(Question::TaskRow(key));
                None
            }
            Err(_) => None,
        }
    }

    /// Returns the oldest report that the upstream has of an output, kept as [`row`](Pull::row) does.
    pub(crate) async fn outhash_row(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<UnifiedRow> {
        let deadline = self.deadline();
        let row = self.ask_outhash_row(key, taskhash).await?;
        Some(self.row(row, deadline, self.storage.unified_outhash_row(key)).await)
    }

    /// Returns the unihash of the oldest report that the upstream has of an output. Nothing is kept.
    pub(crate) async fn outhash_unihash(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Unihash> {
        self.ask_outhash_row(key, taskhash).await.map(|row| row.unihash.clone())
    }

    async fn ask_outhash_row(&self, key: OuthashKey<'_>, taskhash: &str) -> Option<Arc<UnifiedRow>> {
        let row = self.upstream.outhash_row(key, taskhash).await.ok().flatten()?;
        self.keeping.vetting.accepts_row(&row).then_some(row)
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
            let answer = answer.filter(|unihash| self.keeping.vetting.accepts(unihash));
            if answer.is_none() {
                self.misses.add(Question::Unihash(keys[*position]));
            }
            answers.push((*position, answer));
        }
        answers
    }

    /// Returns when whoever asks now must have an answer.
    fn deadline(&self) -> Instant {
        Instant::now() + self.upstream.timeout()
    }

    /// Keeps a row, and returns what is read here afterwards. Where the database fails or is slow that is the
    /// row as the upstream has it: whoever reads gets an answer on a full disk too.
    async fn row(
        &self,
        row: Arc<UnifiedRow>,
        deadline: Instant,
        read: impl Future<Output = Result<Option<UnifiedRow>, StorageError>>,
    ) -> UnifiedRow {
        if let Some(kept) = self.kept(Item::row(report_of(&row)), deadline, read).await {
            return kept;
        }
        let mut row = Arc::unwrap_or_clone(row);
        row.report.created = row.report.created.map(|created| plausible_time(Some(created)));
        row
    }

    /// Keeps an answer, and returns what is read here afterwards; `None` where that does not succeed in time.
    async fn kept<T>(
        &self,
        item: Item,
        deadline: Instant,
        read: impl Future<Output = Result<Option<T>, StorageError>>,
    ) -> Option<T> {
        // Behind so many others it would take too long.
        let is_busy = self.backfill().pending() > MAX_BATCH as u64;
        let written = self.backfill().keep(item);
        if is_busy {
            return None;
        }
        let reading = async {
            written.await.ok()?;
            read.await.unwrap_or_else(|error| {
                debug!("an answer of the upstream was not read back: {}", one_line(&error));
                None
            })
        };
        timeout_at(deadline, reading).await.ok().flatten()
    }
}

/// Keeps answers of the upstream, also those that come when nobody waits for them any more.
#[derive(Debug)]
struct Keeping {
    backfill: Backfill,
    vetting: Vetting,
}

impl Keeping {
    /// The unihash of a task, to be kept; `None` where no database takes the task's hashes.
    fn item(&self, key: TaskKey<'_>, unihash: &Unihash) -> Option<Item> {
        if self.vetting.is_storable(key) {
            return Some(Item::unihash(key, unihash.clone()));
        }
        self.backfill.give_up(1);
        None
    }
}

impl LateAnswers for Keeping {
    fn unihash(&self, key: TaskKey<'_>, unihash: Unihash) {
        if self.vetting.accepts(&unihash) {
            self.backfill.add(self.item(key, &unihash).into_iter().collect());
        }
    }

    fn row(&self, row: Arc<UnifiedRow>) {
        if self.vetting.accepts_row(&row) {
            self.backfill.add(vec![Item::row(report_of(&row))]);
        }
    }
}
