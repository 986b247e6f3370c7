//! Looking hashes up and recording reports.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use hashserv_storage::{
    MAX_BATCH, OuthashKey, OuthashRow, Report, Storage, StorageError, TaskKey, UnifiedRow, Unihash,
    UnihashEntry,
};

use tokio::time::{Instant, timeout_at};

use crate::ServiceError;
use crate::cache::LookupCache;
use crate::upstream::pull::Pull;

/// Deadline for the recording of reports with an upstream, measured from the call. Clients give up after 30 s. Each
/// part has a shorter limit of its own, but they add up.
const REPORT_DEADLINE: Duration = Duration::from_secs(25);

/// Deadline for an answer of the upstream, measured from the call that needs it, the database's part included. The
/// local answer stands then. It is shorter than a server's limit for the whole request, which fails.
const UPSTREAM_ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// Looks hashes up and records reports.
///
/// Look-ups that find nothing here are completed from the upstream, where there is one. An upstream that
/// does not answer changes nothing but that: the answer is then the local one.
///
/// # Cancellation
///
/// Every method may be dropped at any time. What was to be recorded is then recorded in full or not at all, and
/// which is not known. Of what the upstream has given, part may be kept.
#[derive(Debug)]
pub struct Equivalence {
    storage: Arc<dyn Storage>,
    cache: Arc<LookupCache>,
    upstream: Option<Pull>,
    read_only: bool,
}

impl Equivalence {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        cache: Arc<LookupCache>,
        upstream: Option<Pull>,
        read_only: bool,
    ) -> Self {
        Equivalence { storage, cache, upstream, read_only }
    }

    /// The unihashes that tasks have.
    ///
    /// This is what builds ask tens of thousands of times when they start. A hit comes from memory where it
    /// was read before and nothing was removed since; a miss always comes from the database, so that what
    /// another process adds is seen at the next request. What another process removes is forgotten when the
    /// storage [tells it](Storage::foreign_removals), mostly within 200 ms. What the upstream knows is kept in
    /// the background.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, ServiceError> {
        let mut found = self.cache.unihashes(keys);
        if found.iter().all(Option::is_some) {
            return Ok(found);
        }
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        self.read_unihashes(keys, &mut found).await?;
        if let Some(upstream) = &self.upstream {
            // What is missing then has the local answer: unknown.
            let _ = timeout_at(deadline, upstream.complete_unihashes(keys, &mut found)).await;
        }
        Ok(found)
    }

    /// Whether any task has these unihashes.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, ServiceError> {
        let mut exist = self.cache.existence(unihashes);
        if exist.iter().all(|exists| *exists) {
            return Ok(exist);
        }
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        self.read_existence(unihashes, &mut exist).await?;
        if let Some(upstream) = &self.upstream {
            let _ = timeout_at(deadline, upstream.complete_existence(unihashes, &mut exist)).await;
        }
        Ok(exist)
    }

    /// Returns the unihash that one task has. What the upstream knows is kept before this returns; where the
    /// database is slow or fails, it is answered all the same and kept in the background.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn unihash(&self, key: TaskKey<'_>) -> Result<Option<Unihash>, ServiceError> {
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        let mut found = self.cache.unihashes(&[key]);
        self.read_unihashes(&[key], &mut found).await?;
        match (found.pop().flatten(), &self.upstream) {
            (None, Some(upstream)) => Ok(by(deadline, upstream.unihash(key)).await),
            (found, _) => Ok(found),
        }
    }

    /// The oldest report of a task that has a unihash, with that unihash.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, ServiceError> {
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        let row = self.storage.task_row(key).await?;
        match (row, &self.upstream) {
            (None, Some(upstream)) => Ok(by(deadline, upstream.task_row(key)).await),
            (row, _) => Ok(row),
        }
    }

    /// The oldest report of an output whose task has a unihash, with that unihash. The asking is about
    /// `taskhash`, which does not restrict it but is passed on upstream.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn outhash_row(
        &self,
        key: OuthashKey<'_>,
        taskhash: &str,
    ) -> Result<Option<UnifiedRow>, ServiceError> {
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        let row = self.storage.unified_outhash_row(key).await?;
        match (row, &self.upstream) {
            (None, Some(upstream)) => Ok(by(deadline, upstream.outhash_row(key, taskhash)).await),
            (row, _) => Ok(row),
        }
    }

    /// Returns the oldest report of an output, whether its task has a unihash or not. `taskhash` is passed on
    /// upstream, which answers only reports whose task has one.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn outhash_row_alone(
        &self,
        key: OuthashKey<'_>,
        taskhash: &str,
    ) -> Result<Option<OuthashRow>, ServiceError> {
        let deadline = Instant::now() + UPSTREAM_ANSWER_DEADLINE;
        let row = self.storage.outhash_row(key).await?;
        match (row, &self.upstream) {
            (None, Some(upstream)) => {
                Ok(by(deadline, upstream.outhash_row(key, taskhash)).await.map(|row| row.report))
            }
            (row, _) => Ok(row),
        }
    }

    /// Records reports, and tells the unihash that each task then has.
    ///
    /// The reports are taken one after the other. A task keeps the unihash that it has; else it gets that of
    /// the oldest other task that produced the output, else what the upstream has for the output, else what
    /// the report brings. All is committed when this returns. On a read-only server nothing is recorded, as
    /// in [`answer_reports`](Equivalence::answer_reports).
    ///
    /// # Errors
    ///
    /// Where the database fails; none of the reports is recorded then, or all are and it is not known.
    pub async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, ServiceError> {
        if self.read_only {
            return self.answer_reports(&reports).await;
        }
        match &self.upstream {
            None => Ok(self.storage.report(reports).await?),
            Some(upstream) => in_time(self.report_with(upstream, reports)).await,
        }
    }

    /// Tells what the unihashes of reported tasks would be, and records nothing: for each, that of the
    /// oldest report of the output, upstream included, else what the report brings.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn answer_reports(&self, reports: &[Report]) -> Result<Vec<Unihash>, ServiceError> {
        in_time(try_join_all(reports.iter().map(|report| self.answer_report(report)))).await
    }

    /// Gives a unihash to a task that has none, and tells the unihash that it then has.
    ///
    /// # Errors
    ///
    /// Where the database fails.
    pub async fn record_unihash(&self, entry: UnihashEntry) -> Result<Unihash, ServiceError> {
        let offered = entry.unihash.clone();
        Ok(self.storage.record_unihashes(vec![entry]).await?.pop().unwrap_or(offered))
    }

    /// Whether look-ups may have to wait for another server.
    #[must_use]
    pub fn has_upstream(&self) -> bool {
        self.upstream.is_some()
    }

    /// Takes note of the servers on whose behalf a client asks; returns whether its questions came from the
    /// upstream's side and must not be passed on there.
    #[must_use]
    pub fn asks_in_circle(&self, via: &[u64]) -> bool {
        self.upstream.as_ref().is_some_and(|upstream| upstream.asks_in_circle(via))
    }

    /// How many entries from the upstream are still to be written; 0 without an upstream.
    #[must_use]
    pub fn pending_backfill(&self) -> u64 {
        self.upstream.as_ref().map_or(0, |upstream| upstream.backfill().pending())
    }

    /// Returns how many answers of the upstream could not be kept since the start; 0 without an upstream.
    #[must_use]
    pub fn lost_backfill(&self) -> u64 {
        self.upstream.as_ref().map_or(0, |upstream| upstream.backfill().lost())
    }

    /// Waits until all entries that the upstream has given so far are written, or given up.
    pub async fn wait_for_backfill(&self) {
        if let Some(upstream) = &self.upstream {
            upstream.backfill().wait().await;
        }
    }

    /// Gives the upstream up, and writes what it has given; waits for that no longer than the limit.
    pub(crate) async fn close(&self, limit: Duration) {
        if let Some(upstream) = &self.upstream {
            upstream.close(limit).await;
        }
    }

    async fn report_with(
        &self,
        upstream: &Pull,
        mut reports: Vec<Report>,
    ) -> Result<Vec<Unihash>, ServiceError> {
        // All at once: one after the other would cost a round trip each.
        let asked = reports.iter().map(|report| self.upstream_unihash(upstream, report));
        let found = try_join_all(asked).await?;
        for (report, unihash) in reports.iter_mut().zip(found) {
            report.unihash = unihash.unwrap_or_else(|| report.unihash.clone());
        }
        Ok(self.storage.report(reports).await?)
    }

    async fn answer_report(&self, report: &Report) -> Result<Unihash, ServiceError> {
        if let Some(row) = self.storage.unified_outhash_row(report.outhash_key()).await? {
            return Ok(row.unihash);
        }
        let upstream = match &self.upstream {
            Some(upstream) => upstream.outhash_unihash(report.outhash_key(), &report.taskhash).await,
            None => None,
        };
        Ok(upstream.unwrap_or_else(|| report.unihash.clone()))
    }

    /// What the upstream has for the output of a report that is new here.
    async fn upstream_unihash(
        &self,
        upstream: &Pull,
        report: &Report,
    ) -> Result<Option<Unihash>, ServiceError> {
        if !self.is_new(report).await? {
            return Ok(None);
        }
        Ok(upstream.outhash_unihash(report.outhash_key(), &report.taskhash).await)
    }

    /// Whether neither the task of a report nor anybody who produced its output has a unihash here.
    async fn is_new(&self, report: &Report) -> Result<bool, ServiceError> {
        let key = [report.task_key()];
        let mut found = self.cache.unihashes(&key);
        self.read_unihashes(&key, &mut found).await?;
        Ok(found == [None] && self.storage.unified_outhash_row(report.outhash_key()).await?.is_none())
    }

    /// Reads the unihashes that were not found in memory from the database, and remembers the hits.
    async fn read_unihashes(
        &self,
        keys: &[TaskKey<'_>],
        found: &mut [Option<Unihash>],
    ) -> Result<(), StorageError> {
        let missing: Vec<usize> = (0..keys.len()).filter(|position| found[*position].is_none()).collect();
        for positions in missing.chunks(MAX_BATCH) {
            let asked: Vec<TaskKey<'_>> = positions.iter().map(|position| keys[*position]).collect();
            let epoch = self.cache.epoch();
            let unihashes = self.storage.unihashes(&asked).await?;
            let hits = asked.iter().zip(&unihashes).filter_map(|(key, hit)| Some((*key, hit.as_ref()?)));
            self.cache.add_unihashes(epoch, hits);
            for (position, unihash) in positions.iter().zip(unihashes) {
                found[*position] = unihash;
            }
        }
        Ok(())
    }

    /// Asks the database for the unihashes that are not known to exist, and remembers the hits.
    async fn read_existence(&self, unihashes: &[Unihash], exist: &mut [bool]) -> Result<(), StorageError> {
        let missing: Vec<usize> = (0..unihashes.len()).filter(|position| !exist[*position]).collect();
        for positions in missing.chunks(MAX_BATCH) {
            let asked: Vec<Unihash> = positions.iter().map(|position| unihashes[*position].clone()).collect();
            let epoch = self.cache.epoch();
            let answers = self.storage.unihashes_exist(&asked).await?;
            let hits = asked.iter().zip(&answers).filter(|(_, exists)| **exists).map(|(unihash, _)| unihash);
            self.cache.add_existing(epoch, hits);
            for (position, answer) in positions.iter().zip(answers) {
                exist[*position] = answer;
            }
        }
        Ok(())
    }
}

/// Fails a call that takes longer than [`REPORT_DEADLINE`].
async fn in_time<T>(call: impl Future<Output = Result<T, ServiceError>>) -> Result<T, ServiceError> {
    timeout_at(Instant::now() + REPORT_DEADLINE, call).await.unwrap_or_else(|_| {
        let limit = REPORT_DEADLINE.as_secs();
        Err(StorageError::Timeout(format!("with the upstream it took over {limit} s")).into())
    })
}

/// Returns the upstream's answer, or `None`, the local one, where it does not come in time.
async fn by<T>(deadline: Instant, answer: impl Future<Output = Option<T>>) -> Option<T> {
    timeout_at(deadline, answer).await.ok().flatten()
}
