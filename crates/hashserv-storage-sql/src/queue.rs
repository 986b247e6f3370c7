//! The queue to the one task that writes, the same for every backend.
//!
//! Whatever has gathered in it while the task was busy becomes one transaction, as far as it is of one kind;
//! every caller hears of its part after the commit.

use std::collections::VecDeque;
use std::fmt::Debug;

use hashserv_storage::{MarkRequest, StorageError, Unihash};
use tokio::sync::{mpsc, oneshot};

use crate::closing::Closing;
use crate::gather::{Weighed, gather};

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many bytes a transaction is full.
const TRANSACTION_BYTES: usize = 4 << 20;
/// What an item weighs besides its text, so that a transaction has 1024 items at most.
const ITEM_BYTES: usize = TRANSACTION_BYTES / 1024;

/// How a backend writes: each call is one transaction.
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
    ) -> impl Future<Output = Result<Vec<Unihash>, Self::Failure>> + Send;

    /// Marks for one request after the other; gives how many rows each matched.
    fn mark(
        &mut self,
        requests: &[&MarkRequest],
    ) -> impl Future<Output = Result<Vec<u64>, Self::Failure>> + Send;

    /// Runs statements.
    fn run(
        &mut self,
        statements: Self::Statements,
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

/// One failure, told to each of several callers.
pub(crate) trait SharedFailure: Send + Sync {
    fn storage_error(&self) -> StorageError;
    /// Whether the same would happen to any other write just now, so that there is no use in trying.
    fn concerns_all(&self) -> bool;
}

/// The callers' end of the queue.
#[derive(Debug)]
pub(crate) struct Queue<T: Transactions> {
    jobs: mpsc::Sender<Job<T>>,
}

/// The task's end of the queue.
pub(crate) type Jobs<T> = mpsc::Receiver<Job<T>>;

/// What one caller wants written, and where the answer goes.
#[derive(Debug)]
pub(crate) enum Job<T: Transactions> {
    Record(T::Records, Reply<Unihash>),
    Mark(Vec<MarkRequest>, Reply<u64>),
    Statements(T::Statements, Reply<i64>),
}

type Reply<T> = oneshot::Sender<Result<Vec<T>, StorageError>>;

/// A queue, and what comes out of it.
pub(crate) fn queue<T: Transactions>() -> (Queue<T>, Jobs<T>) {
    let (jobs, received) = mpsc::channel(QUEUE);
    (Queue { jobs }, received)
}

// Not derived, as that would ask for transactions that can be cloned.
impl<T: Transactions> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { jobs: self.jobs.clone() }
    }
}

impl<T: Transactions> Queue<T> {
    pub(crate) async fn record(&self, records: T::Records) -> Result<Vec<Unihash>, StorageError> {
        self.ask(|reply| Job::Record(records, reply)).await
    }

    pub(crate) async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.ask(|reply| Job::Mark(requests, reply)).await
    }

    pub(crate) async fn run(&self, statements: T::Statements) -> Result<Vec<i64>, StorageError> {
        self.ask(|reply| Job::Statements(statements, reply)).await
    }

    async fn ask<R>(&self, job: impl FnOnce(Reply<R>) -> Job<T>) -> Result<Vec<R>, StorageError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.send(job(reply)).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

impl<T: Transactions> Weighed for Job<T> {
    fn weight(&self) -> usize {
        match self {
            Job::Record(records, _) => records.count() * ITEM_BYTES + records.bytes(),
            Job::Mark(requests, _) => requests.len() * ITEM_BYTES,
            Job::Statements(..) => ITEM_BYTES,
        }
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
            job = jobs.recv() => match job {
                Some(first) => run_all(&mut transactions, gather(first, &mut jobs, TRANSACTION_BYTES)).await,
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
            Job::Record(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, batch| match job {
                    Job::Record(records, reply) if records.kind() == batch[0].0.kind() => {
                        Ok((records, reply))
                    }
                    other => Err(other),
                });
                record_all(transactions, batch).await;
            }
            Job::Mark(first, reply) => {
                let batch = with_more((first, reply), &mut jobs, |job, _| match job {
                    Job::Mark(requests, reply) => Ok((requests, reply)),
                    other => Err(other),
                });
                mark_all(transactions, batch).await;
            }
            Job::Statements(statements, reply) => answer(reply, transactions.run(statements).await),
        }
        transactions.tend().await;
    }
}

/// The first of a kind and those that follow it directly.
fn with_more<T, J>(first: T, jobs: &mut VecDeque<J>, same_kind: fn(J, &[T]) -> Result<T, J>) -> Vec<T> {
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

async fn record_all<T: Transactions>(transactions: &mut T, batch: Vec<(T::Records, Reply<Unihash>)>) {
    let all: Vec<&T::Records> = batch.iter().map(|(records, _)| records).collect();
    match transactions.record(&all).await {
        Ok(unihashes) => hand_out(unihashes, batch, T::Records::count),
        Err(failure) if batch.len() == 1 || failure.concerns_all() => refuse_all(batch, &failure),
        // One of them is at fault, and the others must not suffer for it.
        Err(_) => {
            for (records, reply) in batch {
                answer(reply, transactions.record(&[&records]).await);
            }
        }
    }
}

async fn mark_all<T: Transactions>(transactions: &mut T, batch: Vec<(Vec<MarkRequest>, Reply<u64>)>) {
    let all: Vec<&MarkRequest> = batch.iter().flat_map(|(requests, _)| requests).collect();
    match transactions.mark(&all).await {
        Ok(counts) => hand_out(counts, batch, Vec::len),
        Err(failure) if batch.len() == 1 || failure.concerns_all() => refuse_all(batch, &failure),
        Err(_) => {
            for (requests, reply) in batch {
                answer(reply, transactions.mark(&requests.iter().collect::<Vec<_>>()).await);
            }
        }
    }
}

/// Gives every caller as many of the results as it waits for.
fn hand_out<I, R>(results: Vec<R>, batch: Vec<(I, Reply<R>)>, count: impl Fn(&I) -> usize) {
    let mut results = results.into_iter();
    for (item, reply) in batch {
        // A caller that has gone wants no answer.
        let _ = reply.send(Ok(results.by_ref().take(count(&item)).collect()));
    }
}

fn refuse_all<I, R>(batch: Vec<(I, Reply<R>)>, failure: &impl SharedFailure) {
    for (_, reply) in batch {
        let _ = reply.send(Err(failure.storage_error()));
    }
}

fn answer<R>(reply: Reply<R>, result: Result<Vec<R>, impl SharedFailure>) {
    let _ = reply.send(result.map_err(|failure| failure.storage_error()));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::watch;

    use super::*;

    /// Tells what was to be done in one transaction; those with a zero fail.
    #[derive(Debug, Default)]
    struct Script {
        transactions: Arc<Mutex<Vec<Vec<u8>>>>,
        fails_for_all: bool,
    }

    #[derive(Debug)]
    struct Numbers(Kind, Vec<u8>);

    #[derive(Debug)]
    struct Failed {
        concerns_all: bool,
    }

    impl Recordable for Numbers {
        fn kind(&self) -> Kind {
            self.0
        }

        fn count(&self) -> usize {
            self.1.len()
        }

        fn bytes(&self) -> usize {
            self.1.len()
        }
    }

    impl SharedFailure for Failed {
        fn storage_error(&self) -> StorageError {
            StorageError::Timeout("as the test wants it".to_owned())
        }

        fn concerns_all(&self) -> bool {
            self.concerns_all
        }
    }

    impl Transactions for Script {
        type Records = Numbers;
        type Statements = u8;
        type Failure = Failed;

        async fn record(&mut self, records: &[&Numbers]) -> Result<Vec<Unihash>, Failed> {
            let numbers: Vec<u8> = records.iter().flat_map(|records| records.1.iter().copied()).collect();
            self.transactions.lock().unwrap().push(numbers.clone());
            if numbers.contains(&0) {
                return Err(Failed { concerns_all: self.fails_for_all });
            }
            Ok(numbers.into_iter().map(|number| Unihash::from([number; 32])).collect())
        }

        async fn mark(&mut self, requests: &[&MarkRequest]) -> Result<Vec<u64>, Failed> {
            self.transactions.lock().unwrap().push(Vec::new());
            Ok(vec![1; requests.len()])
        }

        async fn run(&mut self, statements: u8) -> Result<Vec<i64>, Failed> {
            self.transactions.lock().unwrap().push(vec![statements]);
            Ok(vec![i64::from(statements)])
        }
    }

    /// Lets all these wait in the queue before it is served; gives what each caller hears, and the transactions.
    async fn serve_waiting(script: Script, calls: &[(Kind, &[u8])]) -> (Vec<Option<Vec<u8>>>, Vec<Vec<u8>>) {
        let transactions = Arc::clone(&script.transactions);
        let (queue, jobs) = queue::<Script>();
        let asking = calls.iter().map(|(kind, numbers)| queue.record(Numbers(*kind, numbers.to_vec())));
        let asking = futures_util::future::join_all(asking);
        let closing = watch::Sender::new(false);
        let serving = serve(script, jobs, Closing::of(&closing));
        let close = async {
            let answers = asking.await;
            closing.send_replace(true);
            answers
        };
        let (answers, _) = tokio::join!(close, serving);
        let first_bytes = |unihashes: Vec<Unihash>| {
            unihashes.iter().map(|unihash| unihash.digest().map_or(0, |digest| digest[0])).collect()
        };
        let heard = answers.into_iter().map(|answer| answer.ok().map(first_bytes)).collect();
        let transactions = transactions.lock().unwrap().clone();
        (heard, transactions)
    }

    #[tokio::test]
    async fn what_waits_becomes_one_transaction_of_which_each_hears_its_part() {
        let calls: [(Kind, &[u8]); 3] =
            [(Kind::Reports, &[1, 2]), (Kind::Reports, &[]), (Kind::Reports, &[3])];
        let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
        assert_eq!(heard, [Some(vec![1, 2]), Some(vec![]), Some(vec![3])]);
        assert_eq!(transactions, [[1, 2, 3]]);
    }

    #[tokio::test]
    async fn another_kind_is_another_transaction_and_the_order_stays() {
        let calls: [(Kind, &[u8]); 3] =
            [(Kind::Reports, &[1]), (Kind::Unihashes, &[2]), (Kind::Reports, &[3])];
        let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
        assert_eq!(heard, [Some(vec![1]), Some(vec![2]), Some(vec![3])]);
        assert_eq!(transactions, [[1], [2], [3]]);
    }

    #[tokio::test]
    async fn others_do_not_suffer_for_the_one_at_fault() {
        let calls: [(Kind, &[u8]); 3] = [(Kind::Reports, &[1]), (Kind::Reports, &[0]), (Kind::Reports, &[3])];
        let (heard, transactions) = serve_waiting(Script::default(), &calls).await;
        assert_eq!(heard, [Some(vec![1]), None, Some(vec![3])]);
        assert_eq!(transactions, [vec![1, 0, 3], vec![1], vec![0], vec![3]]);
    }

    #[tokio::test]
    async fn what_fails_for_all_is_not_tried_for_each() {
        let script = Script { fails_for_all: true, ..Script::default() };
        let calls: [(Kind, &[u8]); 2] = [(Kind::Reports, &[1]), (Kind::Reports, &[0])];
        let (heard, transactions) = serve_waiting(script, &calls).await;
        assert_eq!(heard, [None, None]);
        assert_eq!(transactions, [[1, 0]]);
    }
}
