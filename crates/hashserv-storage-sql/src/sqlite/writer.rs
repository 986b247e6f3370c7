//! The one task that writes.
//!
//! Whatever has gathered in its queue while it was busy becomes one transaction, as far as it is of one kind;
//! every caller hears of its part after the commit.

use std::collections::VecDeque;
use std::sync::Arc;

use hashserv_storage::{MarkRequest, StorageError, Unihash};
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::checkpoint::Log;
use super::error::SharedError;
use super::foreign::{ForeignCommits, poll_ticks};
use super::json;
use super::mark::mark;
use super::record::{Records, record};
use super::transaction;
use crate::closing::Closing;
use crate::gather::{Weighed, gather};

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many bytes a transaction is full.
const TRANSACTION_BYTES: usize = 4 << 20;
/// What an item weighs besides its text, so that a transaction has 1024 items at most.
const ITEM_BYTES: usize = TRANSACTION_BYTES / 1024;

/// The queue to the task that writes.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
}

type Reply<T> = oneshot::Sender<Result<T, StorageError>>;

/// What one caller wants written, and where the answer goes.
#[derive(Debug)]
enum Job {
    Record(Records, Reply<Vec<Unihash>>),
    Mark(Vec<MarkRequest>, Reply<Vec<u64>>),
    Statements(Statements, Reply<Vec<i64>>),
}

/// A transaction by itself, made with `transaction!`, which gives an array of numbers.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) sql: Arc<str>,
    pub(crate) arguments: Vec<String>,
}

impl Job {
    /// How many records change as many pages, roughly.
    fn records(&self) -> usize {
        match self {
            Job::Record(records, _) => records.count(),
            // A mark is in no index, so it changes one page.
            Job::Mark(requests, _) => requests.len().div_ceil(8),
            Job::Statements(..) => super::bulk::CHUNK,
        }
    }
}

impl Weighed for Job {
    fn weight(&self) -> usize {
        match self {
            Job::Record(records, _) => records.count() * ITEM_BYTES + records.bytes(),
            Job::Mark(requests, _) => requests.len() * ITEM_BYTES,
            Job::Statements(..) => ITEM_BYTES,
        }
    }
}

impl Writer {
    /// Starts the task; it ends when `closing` turns true or all values like this one are dropped, does what
    /// is in the queue before, and gives the connection back.
    pub(crate) fn start(
        connection: SqliteConnection,
        commits: ForeignCommits,
        log: Log,
        closing: Closing,
    ) -> (Self, JoinHandle<SqliteConnection>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Writer { queue: sender }, tokio::spawn(serve(connection, commits, log, queue, closing)))
    }

    pub(crate) async fn record(&self, records: Records) -> Result<Vec<Unihash>, StorageError> {
        self.ask(|reply| Job::Record(records, reply)).await
    }

    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.ask(|reply| Job::Mark(requests, reply)).await
    }

    pub(crate) async fn run(&self, statements: Statements) -> Result<Vec<i64>, StorageError> {
        self.ask(|reply| Job::Statements(statements, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(job(reply)).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

async fn serve(
    mut connection: SqliteConnection,
    mut commits: ForeignCommits,
    log: Log,
    mut queue: mpsc::Receiver<Job>,
    mut closing: Closing,
) -> SqliteConnection {
    let mut ticks = poll_ticks();
    let mut open = true;
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(first) => {
                    let jobs = gather(first, &mut queue, TRANSACTION_BYTES);
                    let records = jobs.iter().map(Job::records).sum();
                    let writing = log.writing().await;
                    run(&mut connection, &mut commits, jobs).await;
                    drop(writing);
                    log.add(records);
                }
                None => return connection,
            },
            _ = closing.begun(), if open => {
                queue.close();
                open = false;
            }
            _ = ticks.tick() => commits.check_if_due(&mut connection).await,
        }
    }
}

async fn run(connection: &mut SqliteConnection, commits: &mut ForeignCommits, mut jobs: VecDeque<Job>) {
    while let Some(job) = jobs.pop_front() {
        match job {
            Job::Record(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, batch| match job {
                    Job::Record(records, reply) if records.kind == batch[0].0.kind => Ok((records, reply)),
                    other => Err(other),
                });
                record_all(connection, batch).await;
            }
            Job::Mark(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, _| match job {
                    Job::Mark(requests, reply) => Ok((requests, reply)),
                    other => Err(other),
                });
                mark_all(connection, batch).await;
            }
            Job::Statements(statements, reply) => {
                let result = run_alone(connection, statements).await;
                let _ = reply.send(result.map_err(|error| error.storage_error()));
            }
        }
        commits.check_if_due(connection).await;
    }
}

/// The first of a kind and those that follow it directly.
fn with_more<T>(first: T, jobs: &mut VecDeque<Job>, same_kind: fn(Job, &[T]) -> Result<T, Job>) -> Vec<T> {
    let mut batch = vec![first];
    while let Some(job) = jobs.pop_front() {
        match same_kind(job, &batch) {
            Ok(item) => batch.push(item),
            Err(other) => {
                jobs.push_front(other);
                break;
            }
        }
    }
    batch
}

async fn record_all(connection: &mut SqliteConnection, batch: Vec<(Records, Reply<Vec<Unihash>>)>) {
    let all: Vec<&Records> = batch.iter().map(|(records, _)| records).collect();
    match record(connection, &all).await {
        Ok(unihashes) => {
            let mut unihashes = unihashes.into_iter();
            for (records, reply) in batch {
                // A caller that has gone wants no answer.
                let _ = reply.send(Ok(unihashes.by_ref().take(records.count()).collect()));
            }
        }
        Err(error) if batch.len() == 1 || error.concerns_all() => refuse_all(batch, &error),
        // One of them is at fault, and the others must not suffer for it.
        Err(_) => {
            for (records, reply) in batch {
                let result = record(connection, &[&records]).await;
                let _ = reply.send(result.map_err(|error| error.storage_error()));
            }
        }
    }
}

async fn mark_all(connection: &mut SqliteConnection, batch: Vec<(Vec<MarkRequest>, Reply<Vec<u64>>)>) {
    match mark(connection, batch.iter().flat_map(|(requests, _)| requests)).await {
        Ok(counts) => {
            let mut counts = counts.into_iter();
            for (requests, reply) in batch {
                let _ = reply.send(Ok(counts.by_ref().take(requests.len()).collect()));
            }
        }
        Err(error) if batch.len() == 1 || error.concerns_all() => refuse_all(batch, &error),
        Err(_) => {
            for (requests, reply) in batch {
                let result = mark(connection, &requests).await;
                let _ = reply.send(result.map_err(|error| error.storage_error()));
            }
        }
    }
}

fn refuse_all<T, R>(batch: Vec<(T, Reply<R>)>, error: &SharedError) {
    for (_, reply) in batch {
        let _ = reply.send(Err(error.storage_error()));
    }
}

async fn run_alone(
    connection: &mut SqliteConnection,
    statements: Statements,
) -> Result<Vec<i64>, SharedError> {
    let sql = sqlx::AssertSqlSafe(statements.sql);
    let numbers = transaction::run(connection, sql, statements.arguments).await?;
    json::parse_numbers(&numbers).map_err(|error| sqlx::Error::Decode(error.into()).into())
}
