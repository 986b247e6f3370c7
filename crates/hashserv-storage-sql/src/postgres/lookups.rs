//! Look-ups: gathered from all callers, answered many at a time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{StorageError, TaskKey, Unihash};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Row as _};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::Failure;
use super::link::Link;
use super::patience::Patience;
use super::texts::Texts;
use crate::closing::Closing;
use crate::gather::{Weighed, gather};
use crate::queue::SharedFailure as _;

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many keys one statement is full. Larger ones are hardly faster; these let one large batch have several
/// connections at once.
const STATEMENT_KEYS: usize = 128;
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A scalar subquery for each key: whatever the statistics say, it can only be planned as a look into the
/// index for each. A join with the keys would be planned by guesses, and has been seen to take 500 times as
/// long.
const UNIHASHES: &str = "\
    SELECT ARRAY(SELECT (SELECT u.unihash FROM unihashes_v3 AS u WHERE u.method = k.method AND u.taskhash = k.taskhash) \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k(method, taskhash, i) ORDER BY k.i)";

/// The same for tasks of one method, which is most of the time.
const UNIHASHES_OF_METHOD: &str = "\
    SELECT ARRAY(SELECT (SELECT u.unihash FROM unihashes_v3 AS u WHERE u.method = $1 AND u.taskhash = k.taskhash) \
    FROM unnest($2::text[]) WITH ORDINALITY AS k(taskhash, i) ORDER BY k.i)";

/// Not `EXISTS`, which may be planned as a hash of the whole table.
const UNIHASHES_EXIST: &str = "\
    SELECT ARRAY(SELECT (SELECT true FROM unihashes_v3 AS u WHERE u.unihash = k.unihash LIMIT 1) \
    FROM unnest($1::text[]) WITH ORDINALITY AS k(unihash, i) ORDER BY k.i)";

/// The queue to the tasks that look up.
#[derive(Debug)]
pub(crate) struct Lookups {
    queue: mpsc::Sender<Lookup>,
}

/// What one caller asks, and where the answer goes.
#[derive(Debug)]
enum Lookup {
    Unihashes(TaskKeys, Answers<Option<Unihash>>),
    Exist(Texts, Answers<bool>),
}

type Answers<T> = oneshot::Sender<Result<Vec<T>, StorageError>>;

#[derive(Debug, Default)]
struct TaskKeys {
    methods: Texts,
    taskhashes: Texts,
}

impl Weighed for Lookup {
    fn weight(&self) -> usize {
        match self {
            Lookup::Unihashes(keys, _) => keys.taskhashes.count(),
            Lookup::Exist(unihashes, _) => unihashes.count(),
        }
    }
}

impl Lookups {
    /// Starts a task for each link; they end when `closing` turns true, or this value is dropped.
    pub(crate) fn start(links: Vec<Link>, closing: &Closing) -> (Self, Vec<JoinHandle<()>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(receiver));
        let tasks =
            links.into_iter().map(|link| tokio::spawn(serve(link, Arc::clone(&queue), closing.clone())));
        (Lookups { queue: sender }, tasks.collect())
    }

    pub(crate) async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        let lookups = keys.chunks(STATEMENT_KEYS).map(|keys| {
            let mut texts = TaskKeys::default();
            for key in keys {
                texts.methods.push(key.method);
                texts.taskhashes.push(key.taskhash);
            }
            |reply| Lookup::Unihashes(texts, reply)
        });
        self.ask(lookups).await
    }

    pub(crate) async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        let lookups = unihashes.chunks(STATEMENT_KEYS).map(|unihashes| {
            let mut texts = Texts::default();
            for unihash in unihashes {
                texts.push(&unihash.to_string());
            }
            |reply| Lookup::Exist(texts, reply)
        });
        self.ask(lookups).await
    }

    /// Has all parts under way before it waits for the first.
    async fn ask<T, F>(&self, lookups: impl Iterator<Item = F>) -> Result<Vec<T>, StorageError>
    where
        F: FnOnce(Answers<T>) -> Lookup,
    {
        let mut answers = Vec::new();
        for lookup in lookups {
            let (sender, answer) = oneshot::channel();
            self.queue.send(lookup(sender)).await.map_err(|_| StorageError::Closed)?;
            answers.push(answer);
        }
        let mut found = Vec::new();
        for answer in answers {
            found.append(&mut answer.await.map_err(|_| StorageError::Closed)??);
        }
        Ok(found)
    }
}

async fn serve(mut link: Link, queue: Arc<Mutex<mpsc::Receiver<Lookup>>>, mut closing: Closing) {
    while let Some(lookups) = next_batch(&queue, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for lookup in lookups {
            match lookup {
                Lookup::Unihashes(keys, reply) => unihashes.push((keys, reply)),
                Lookup::Exist(keys, reply) => exist.push((keys, reply)),
            }
        }
        if !unihashes.is_empty() {
            let found = find_unihashes(&mut link, &unihashes).await;
            answer(unihashes, |keys| keys.taskhashes.count(), found);
        }
        if !exist.is_empty() {
            let found = find_existing(&mut link, &exist).await;
            answer(exist, Texts::count, found);
        }
    }
    link.close().await;
}

/// Waits for look-ups; `None` when there will be no more.
async fn next_batch(
    queue: &Mutex<mpsc::Receiver<Lookup>>,
    closing: &mut Closing,
) -> Option<VecDeque<Lookup>> {
    let mut queue = queue.lock().await;
    let first = tokio::select! {
        first = queue.recv() => first,
        _ = closing.begun() => {
            queue.close();
            queue.recv().await
        }
    };
    Some(gather(first?, &mut queue, STATEMENT_KEYS))
}

async fn find_unihashes(
    link: &mut Link,
    callers: &[(TaskKeys, Answers<Option<Unihash>>)],
) -> Result<Vec<Option<Unihash>>, Failure> {
    let methods: Vec<_> = callers.iter().flat_map(|(keys, _)| keys.methods.iter()).collect();
    let taskhashes: Vec<_> = callers.iter().flat_map(|(keys, _)| keys.taskhashes.iter()).collect();
    let found: Vec<Option<String>> = match methods.first() {
        Some(Some(method)) if methods.iter().all(|other| *other == Some(*method)) => {
            find(link, UNIHASHES_OF_METHOD, &[Argument::One(method), Argument::Many(&taskhashes)]).await?
        }
        _ => find(link, UNIHASHES, &[Argument::Many(&methods), Argument::Many(&taskhashes)]).await?,
    };
    Ok(found.into_iter().map(|unihash| unihash.as_deref().map(Unihash::from_stored)).collect())
}

async fn find_existing(link: &mut Link, callers: &[(Texts, Answers<bool>)]) -> Result<Vec<bool>, Failure> {
    let unihashes: Vec<_> = callers.iter().flat_map(|(keys, _)| keys.iter()).collect();
    let found: Vec<Option<bool>> = find(link, UNIHASHES_EXIST, &[Argument::Many(&unihashes)]).await?;
    Ok(found.into_iter().map(|exists| exists == Some(true)).collect())
}

/// An argument of a statement.
enum Argument<'a> {
    One(&'a str),
    Many(&'a [Option<&'a str>]),
}

/// Runs a statement that gives one array with an element for each of those in the arrays it is given.
async fn find<T>(link: &mut Link, sql: &'static str, keys: &[Argument<'_>]) -> Result<Vec<Option<T>>, Failure>
where
    Vec<Option<T>>: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    T: Send + Unpin,
{
    let mut patience = Patience::begin();
    loop {
        match find_once(link, sql, keys).await {
            Err(failure) if patience.endures(&failure).await => {}
            result => return result,
        }
    }
}

async fn find_once<T>(
    link: &mut Link,
    sql: &'static str,
    keys: &[Argument<'_>],
) -> Result<Vec<Option<T>>, Failure>
where
    Vec<Option<T>>: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    T: Send + Unpin,
{
    let mut arguments = PgArguments::default();
    let add = |argument: &Argument<'_>| match argument {
        Argument::One(text) => arguments.add(*text),
        Argument::Many(texts) => arguments.add(*texts),
    };
    keys.iter().try_for_each(add).map_err(sqlx::Error::Encode)?;
    let rows = link.fetch_all(sql, arguments, LIMIT).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}

/// Gives each caller its part of the results.
fn answer<K, T>(callers: Vec<(K, Answers<T>)>, count: fn(&K) -> usize, found: Result<Vec<T>, Failure>) {
    match found {
        Ok(found) => {
            let mut found = found.into_iter();
            for (keys, reply) in callers {
                // A caller that has gone wants no answer.
                let _ = reply.send(Ok(found.by_ref().take(count(&keys)).collect()));
            }
        }
        Err(failure) => {
            for (_, reply) in callers {
                let _ = reply.send(Err(failure.storage_error()));
            }
        }
    }
}
