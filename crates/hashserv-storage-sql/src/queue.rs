//! The queue to the one task that writes, the same for every backend.
//!
//! Whatever has gathered in it while the task was busy becomes one transaction, as far as it is of one kind;
//! every caller hears of its part after the commit.
//!
//! Calls with much text have a lane of their own, which takes turns with that of all others. The order in which
//! different callers are served is therefore not that of their calls; a caller that awaits each call keeps its own.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::Arc;

use hashserv_storage::{MarkRequest, StorageError, Unihash};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::answers::{Reply, SharedFailure, answer, answer_all};
use crate::closing::Closing;
use crate::deadline::{WRITE_DEADLINE, WRITE_START_DEADLINE, late, within};
use crate::gather::{Lanes, Weighed};
use crate::halves::Halves;

/// How many calls may wait in a lane; further ones wait to be let in.
const QUEUE: usize = 1024;
/// Bytes of text above which a call is heavy.
const HEAVY_BYTES: usize = 256 << 10;
/// Bytes of text that heavy calls have together; further ones wait to be let in. One that has more comes in alone.
const HEAVY_LANE_BYTES: u32 = 64 << 20;
/// At how many bytes a transaction is full.
const TRANSACTION_BYTES: usize = 4 << 20;
/// What an item weighs besides its text, so that a transaction has 1024 items at most.
const ITEM_BYTES: usize = TRANSACTION_BYTES / 1024;

/// How a backend writes: each call is one transaction.
///
/// `until` is when the caller has waited long enough, or the first of the callers: a transaction that fails then for
/// want of the database is not tried again.
pub(crate) trait Transactions: Send {
    /// What one caller wants recorded.
    type Records: Recordable;
    /// A transaction by itself, which gives numbers.
    type Statements: Debug + Send;
    /// Why a transaction failed.
    type Failure: SharedFailure;

    /// Records what callers want, all of one kind; gives the unihashes of all, in order.
    fn record(
        &mut self,
        records: &[&Self::Records],
        until: Instant,
    ) -> impl Future<Output = Result<Vec<Unihash>, Self::Failure>> + Send;

    /// Marks for one request after the other; gives how many rows each matched.
    fn mark(
        &mut self,
        requests: &[&MarkRequest],
        until: Instant,
    ) -> impl Future<Output = Result<Vec<u64>, Self::Failure>> + Send;

    /// Runs statements.
    fn run(
        &mut self,
        statements: Self::Statements,
        until: Instant,
    ) -> impl Future<Output = Result<Vec<i64>, Self::Failure>> + Send;

    /// Waits until there is something to [`tend`](Self::tend) to. May be dropped at any time.
    fn idle(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Does what is due besides; called after every transaction too.
    fn tend(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// What one caller wants recorded.
pub(crate) trait Recordable: Debug + Send + Sync {
    fn kind(&self) -> Kind;
    /// How many unihashes the caller waits for.
    fn count(&self) -> usize;
    fn bytes(&self) -> usize;
}

/// What is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Reports,
    Unihashes,
}

/// The callers' end of the queue.
#[derive(Debug)]
pub(crate) struct Queue<T: Transactions> {
    light: mpsc::Sender<Job<T>>,
    heavy: mpsc::Sender<Job<T>>,
    /// Room for heavy calls, in bytes.
    room: Arc<Semaphore>,
}

/// The task's end of the queue.
pub(crate) type Jobs<T> = Lanes<Job<T>>;

/// What one caller wants written.
#[derive(Debug)]
pub(crate) enum Job<T: Transactions> {
    Record(Call<T::Records, Unihash>),
    Mark(Call<Vec<MarkRequest>, u64>),
    Statements(Call<T::Statements, i64>),
}

/// What a caller has given, how long it waits, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Call<I, R> {
    item: I,
    until: Instant,
    reply: Reply<R>,
    /// Room that a heavy call takes until it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

/// A queue, and what comes out of it.
pub(crate) fn queue<T: Transactions>() -> (Queue<T>, Jobs<T>) {
    let (light, light_jobs) = mpsc::channel(QUEUE);
    let (heavy, heavy_jobs) = mpsc::channel(QUEUE);
    let room = Arc::new(Semaphore::new(HEAVY_LANE_BYTES as usize));
    (Queue { light, heavy, room }, Lanes::new(light_jobs, heavy_jobs))
}

// Not derived, as that would ask for transactions that can be cloned.
impl<T: Transactions> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { light: self.light.clone(), heavy: self.heavy.clone(), room: Arc::clone(&self.room) }
    }
}

impl<T: Transactions> Queue<T> {
    pub(crate) async fn record(&self, records: T::Records) -> Result<Vec<Unihash>, StorageError> {
        let bytes = records.bytes();
        self.ask(records, bytes, Job::Record).await
    }

    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        let bytes = requests.iter().map(bytes_of).sum();
        self.ask(requests, bytes, Job::Mark).await
    }

    pub(crate) async fn run(&self, statements: T::Statements) -> Result<Vec<i64>, StorageError> {
        self.ask(statements, 0, Job::Statements).await
    }

    async fn ask<I, R>(
        &self,
        item: I,
        bytes: usize,
        job: fn(Call<I, R>) -> Job<T>,
    ) -> Result<Vec<R>, StorageError> {
        let (reply, answer) = oneshot::channel();
        let called = Instant::now();
        let asking = async {
            let (lane, room) = self.lane_for(bytes).await?;
            let call = Call { item, until: called + WRITE_START_DEADLINE, reply, _room: room };
            lane.send(job(call)).await.map_err(|_| StorageError::Closed)?;
            answer.await.map_err(|_| StorageError::Closed)?
        };
        within(called, WRITE_DEADLINE, asking).await
    }

    /// Waits until there is room for so much text in the lane that such a call takes.
    async fn lane_for(
        &self,
        bytes: usize,
    ) -> Result<(&mpsc::Sender<Job<T>>, Option<OwnedSemaphorePermit>), StorageError> {
        if bytes <= HEAVY_BYTES {
            return Ok((&self.light, None));
        }
        let bytes = u32::try_from(bytes).map_or(HEAVY_LANE_BYTES, |bytes| bytes.min(HEAVY_LANE_BYTES));
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await;
        room.map(|room| (&self.heavy, Some(room))).map_err(|_| StorageError::Closed)
    }
}

impl<T: Transactions> Weighed for Job<T> {
    fn weight(&self) -> usize {
        match self {
            Job::Record(call) => call.item.count() * ITEM_BYTES + call.item.bytes(),
            Job::Mark(call) => call.item.iter().map(|request| ITEM_BYTES + bytes_of(request)).sum(),
            Job::Statements(_) => ITEM_BYTES,
        }
    }
}

fn bytes_of(request: &MarkRequest) -> usize {
    let values = request.conditions.of_unihashes().map(|(_, value)| value.len());
    request.mark.len() + values.sum::<usize>()
}

impl<I, R> Call<I, R> {
    /// Returns the call if there is time for it, else refuses it. Nothing is begun for a caller that has gone.
    fn in_time(self) -> Option<Self> {
        if self.reply.is_closed() {
            return None;
        }
        if Instant::now() < self.until {
            return Some(self);
        }
        // A caller that has gone wants no answer.
        let _ = self.reply.send(Err(late(WRITE_START_DEADLINE)));
        None
    }
}

/// Serves the queue until `closing` turns true or its other end is dropped, and does what is in it before; gives the
/// transactions back.
pub(crate) async fn serve<T: Transactions>(
    mut transactions: T,
    mut jobs: Jobs<T>,
    mut closing: Closing,
) -> T {
    let mut open = true;
    loop {
        tokio::select! {
            batch = jobs.next_batch(TRANSACTION_BYTES) => match batch {
                Some(batch) => run_all(&mut transactions, batch).await,
                None => return transactions,
            },
            () = closing.begun(), if open => {
                jobs.close();
                open = false;
            }
            () = transactions.idle() => transactions.tend().await,
        }
    }
}

async fn run_all<T: Transactions>(transactions: &mut T, mut jobs: VecDeque<Job<T>>) {
    while let Some(job) = jobs.pop_front() {
        match job {
            Job::Record(first) => {
                let batch = with_more(first, &mut jobs, |job, first| match job {
                    Job::Record(call) if call.item.kind() == first.item.kind() => Ok(call),
                    other => Err(other),
                });
                record_all(transactions, batch).await;
            }
            Job::Mark(first) => {
                let batch = with_more(first, &mut jobs, |job, _| match job {
                    Job::Mark(call) => Ok(call),
                    other => Err(other),
                });
                mark_all(transactions, batch).await;
            }
            Job::Statements(call) => {
                if let Some(Call { item, until, reply, .. }) = call.in_time() {
                    answer(reply, transactions.run(item, until).await);
                }
            }
        }
        transactions.tend().await;
    }
}

/// The first of a kind and those that follow it directly.
fn with_more<T, J>(first: T, jobs: &mut VecDeque<J>, same_kind: fn(J, &T) -> Result<T, J>) -> Vec<T> {
    let mut batch = vec![first];
    while let Some(job) = jobs.pop_front() {
        match same_kind(job, &batch[0]) {
            Ok(item) => batch.push(item),
            Err(other) => {
                jobs.push_front(other);
                break;
            }
        }
    }
    batch
}

async fn record_all<T: Transactions>(transactions: &mut T, batch: Vec<Call<T::Records, Unihash>>) {
    let mut halves = Halves::of(batch);
    while let Some(batch) = halves.next() {
        let batch: Vec<_> = batch.into_iter().filter_map(Call::in_time).collect();
        let Some(first) = batch.first() else { continue };
        let all: Vec<&T::Records> = batch.iter().map(|call| &call.item).collect();
        let result = transactions.record(&all, first.until).await;
        if let Some(batch) = halves.settle(batch, &result) {
            answer_all(batch.into_iter().map(|call| (call.item.count(), call.reply)), result);
        }
    }
}

async fn mark_all<T: Transactions>(transactions: &mut T, batch: Vec<Call<Vec<MarkRequest>, u64>>) {
    let mut halves = Halves::of(batch);
    while let Some(batch) = halves.next() {
        let batch: Vec<_> = batch.into_iter().filter_map(Call::in_time).collect();
        let Some(first) = batch.first() else { continue };
        let all: Vec<&MarkRequest> = batch.iter().flat_map(|call| &call.item).collect();
        let result = transactions.mark(&all, first.until).await;
        if let Some(batch) = halves.settle(batch, &result) {
            answer_all(batch.into_iter().map(|call| (call.item.len(), call.reply)), result);
        }
    }
}

#[cfg(test)]
mod tests;
