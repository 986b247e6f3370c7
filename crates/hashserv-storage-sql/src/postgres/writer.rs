//! The one task that writes.
//!
//! Whatever has gathered in its queue while it was busy becomes one transaction, as far as it is of one kind;
//! every caller hears of its part after the commit.

use std::collections::VecDeque;
use std::time::Duration;

use hashserv_storage::{MarkRequest, StorageError, Unihash};
use serde::de::DeserializeOwned;
use sqlx::{SqlSafeStr as _, SqlStr};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::error::Failure;
use super::link::Link;
use super::mark;
use super::patience::Patience;
use super::record::{self, Kind, Records};
use super::transaction;
use crate::closing::Closing;
use crate::gather::{Weighed, gather};

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many bytes a transaction is full.
const TRANSACTION_BYTES: usize = 4 << 20;
/// What an item weighs besides its text, so that a transaction has 1024 items at most.
const ITEM_BYTES: usize = TRANSACTION_BYTES / 1024;
/// How long a transaction may take; it waits for the lock for 20 seconds of them at most.
const LIMIT: Duration = Duration::from_secs(60);

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
    Removal(Program, Reply<Vec<i64>>),
}

/// A transaction by itself, which gives an array of numbers.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) sql: SqlStr,
    pub(crate) input: String,
}

impl Weighed for Job {
    fn weight(&self) -> usize {
        match self {
            Job::Record(records, _) => records.count() * ITEM_BYTES + records.bytes(),
            Job::Mark(requests, _) => requests.len() * ITEM_BYTES,
            Job::Removal(..) => ITEM_BYTES,
        }
    }
}

impl Writer {
    /// Starts the task; it ends when `closing` turns true or all values like this one are dropped, and does
    /// what is in the queue before.
    pub(crate) fn start(link: Link, closing: Closing) -> (Self, JoinHandle<()>) {
        let (sender, queue) = mpsc::channel(QUEUE);
        (Writer { queue: sender }, tokio::spawn(serve(link, queue, closing)))
    }

    pub(crate) async fn record(&self, records: Records) -> Result<Vec<Unihash>, StorageError> {
        self.ask(|reply| Job::Record(records, reply)).await
    }

    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.ask(|reply| Job::Mark(requests, reply)).await
    }

    /// Runs a transaction that removes. Where it is not known whether it was committed, it fails.
    pub(crate) async fn remove(&self, program: Program) -> Result<Vec<i64>, StorageError> {
        self.ask(|reply| Job::Removal(program, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(job(reply)).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

async fn serve(mut link: Link, mut queue: mpsc::Receiver<Job>, mut closing: Closing) {
    let mut open = true;
    loop {
        tokio::select! {
            job = queue.recv() => match job {
                Some(first) => run(&mut link, gather(first, &mut queue, TRANSACTION_BYTES)).await,
                None => break,
            },
            _ = closing.begun(), if open => {
                queue.close();
                open = false;
            }
        }
    }
    link.close().await;
}

async fn run(link: &mut Link, mut jobs: VecDeque<Job>) {
    while let Some(job) = jobs.pop_front() {
        match job {
            Job::Record(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, batch| match job {
                    Job::Record(records, reply) if records.kind == batch[0].0.kind => Ok((records, reply)),
                    other => Err(other),
                });
                record_all(link, batch).await;
            }
            Job::Mark(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, _| match job {
                    Job::Mark(requests, reply) => Ok((requests, reply)),
                    other => Err(other),
                });
                mark_all(link, batch).await;
            }
            Job::Removal(program, reply) => {
                let result = transact(link, program.sql, &program.input, Repeat::Never).await;
                let _ = reply.send(result.map_err(|failure| failure.storage_error()));
            }
        }
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

async fn record_all(link: &mut Link, batch: Vec<(Records, Reply<Vec<Unihash>>)>) {
    let kind = batch[0].0.kind;
    match record(link, kind, batch.iter().map(|(records, _)| records)).await {
        Ok(unihashes) => {
            let mut unihashes = unihashes.into_iter();
            for (records, reply) in batch {
                // A caller that has gone wants no answer.
                let _ = reply.send(Ok(unihashes.by_ref().take(records.count()).collect()));
            }
        }
        // One of them is at fault, and the others must not suffer for it.
        Err(failure) if batch.len() > 1 && failure.is_fault_of_data() => {
            for (records, reply) in batch {
                let result = record(link, kind, std::iter::once(&records)).await;
                let _ = reply.send(result.map_err(|failure| failure.storage_error()));
            }
        }
        Err(failure) => refuse_all(batch, &failure),
    }
}

async fn record<'a>(
    link: &mut Link,
    kind: Kind,
    records: impl Iterator<Item = &'a Records>,
) -> Result<Vec<Unihash>, Failure> {
    let input = record::input(records);
    let texts: Vec<String> = transact(link, kind.program(), &input, Repeat::Always).await?;
    Ok(texts.iter().map(|text| Unihash::from_stored(text)).collect())
}

async fn mark_all(link: &mut Link, batch: Vec<(Vec<MarkRequest>, Reply<Vec<u64>>)>) {
    match mark(link, batch.iter().flat_map(|(requests, _)| requests)).await {
        Ok(counts) => {
            let mut counts = counts.into_iter();
            for (requests, reply) in batch {
                let _ = reply.send(Ok(counts.by_ref().take(requests.len()).collect()));
            }
        }
        Err(failure) if batch.len() > 1 && failure.is_fault_of_data() => {
            for (requests, reply) in batch {
                let result = mark(link, requests.iter()).await;
                let _ = reply.send(result.map_err(|failure| failure.storage_error()));
            }
        }
        Err(failure) => refuse_all(batch, &failure),
    }
}

async fn mark<'a>(
    link: &mut Link,
    requests: impl Iterator<Item = &'a MarkRequest>,
) -> Result<Vec<u64>, Failure> {
    let input = mark::input(requests).map_err(decode_error)?;
    transact(link, mark::MARK.into_sql_str(), &input, Repeat::Never).await
}

fn refuse_all<T, R>(batch: Vec<(T, Reply<R>)>, failure: &Failure) {
    for (_, reply) in batch {
        let _ = reply.send(Err(failure.storage_error()));
    }
}

/// When a transaction that failed is tried again, while there is patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    /// Also where it is not known whether it was committed: done twice, it comes to the same.
    Always,
    /// Only where it is certain that it was not committed.
    Never,
}

async fn transact<T: DeserializeOwned>(
    link: &mut Link,
    program: SqlStr,
    input: &str,
    repeat: Repeat,
) -> Result<T, Failure> {
    let mut patience = Patience::begin();
    loop {
        let failure = match transact_once(link, program.clone(), input).await {
            Ok(output) => return serde_json::from_str(&output).map_err(decode_error),
            Err(failure) => failure,
        };
        let again = match repeat {
            Repeat::Always => patience.endures(&failure).await,
            Repeat::Never => patience.endures_once(&failure).await,
        };
        if !again {
            return Err(failure);
        }
    }
}

async fn transact_once(link: &mut Link, program: SqlStr, input: &str) -> Result<String, Failure> {
    let connection = link.ready().await?;
    let result = timeout(LIMIT, transaction::run(connection, program, input)).await;
    link.after(result, LIMIT)
}

fn decode_error(error: serde_json::Error) -> Failure {
    sqlx::Error::Decode(error.into()).into()
}
