//! Look-ups: gathered from all callers, answered many at a time.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::{StorageError, TaskKey, Unihash};
use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, Row as _};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::Failure;
use super::link::Link;
use super::patience::Patience;
use super::texts::Texts;
use crate::answers::{Reply, SharedFailure as _, answer_all};
use crate::closing::Closing;
use crate::gather::{Inbox, Weighed, next_batch};

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many keys one statement is full. Larger ones are hardly faster; these let one large batch have several
/// connections at once.
const STATEMENT_KEYS: usize = 128;
/// How long a look-up may wait for its turn; clients give up after 30 seconds.
const QUEUE_LIMIT: Duration = Duration::from_secs(10);
/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(10);

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

/// What one caller asks, and since when it waits.
#[derive(Debug)]
struct Lookup {
    asked: Instant,
    question: Question,
}

/// What is asked, and where the answer goes.
#[derive(Debug)]
enum Question {
    Unihashes(TaskKeys, Reply<Option<Unihash>>),
    Exist(Texts, Reply<bool>),
}

#[derive(Debug, Default)]
struct TaskKeys {
    methods: Texts,
    taskhashes: Texts,
}

impl Question {
    /// Tells the caller that it has waited for too long.
    fn refuse(self) {
        let error = Failure::all_in_use(QUEUE_LIMIT).storage_error();
        // A caller that has gone wants no answer.
        match self {
            Question::Unihashes(_, reply) => drop(reply.send(Err(error))),
            Question::Exist(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

impl Weighed for Lookup {
    fn weight(&self) -> usize {
        match &self.question {
            Question::Unihashes(keys, _) => keys.taskhashes.count(),
            Question::Exist(unihashes, _) => unihashes.count(),
        }
    }
}

impl Lookups {
    /// Starts a task for each link; they end when `closing` turns true, or this value is dropped.
    pub(crate) fn start(links: Vec<Link>, closing: &Closing) -> (Self, Vec<JoinHandle<()>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(Inbox::new(receiver)));
        let tasks =
            links.into_iter().map(|link| tokio::spawn(serve(link, Arc::clone(&queue), closing.clone())));
        (Lookups { queue: sender }, tasks.collect())
    }

    pub(crate) async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        let questions = keys.chunks(STATEMENT_KEYS).map(|keys| {
            let mut texts = TaskKeys::default();
            for key in keys {
                texts.methods.push(key.method);
                texts.taskhashes.push(key.taskhash);
            }
            |reply| Question::Unihashes(texts, reply)
        });
        self.ask(questions).await
    }

    pub(crate) async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        let questions = unihashes.chunks(STATEMENT_KEYS).map(|unihashes| {
            let mut texts = Texts::default();
            for unihash in unihashes {
                texts.push(&unihash.to_string());
            }
            |reply| Question::Exist(texts, reply)
        });
        self.ask(questions).await
    }

    /// Has all parts under way before it waits for the first.
    async fn ask<T, F>(&self, questions: impl Iterator<Item = F>) -> Result<Vec<T>, StorageError>
    where
        F: FnOnce(Reply<T>) -> Question,
    {
        let asked = Instant::now();
        let mut answers = Vec::new();
        for question in questions {
            let (sender, answer) = oneshot::channel();
            let lookup = Lookup { asked, question: question(sender) };
            self.queue.send(lookup).await.map_err(|_| StorageError::Closed)?;
            answers.push(answer);
        }
        let mut found = Vec::new();
        for answer in answers {
            found.append(&mut answer.await.map_err(|_| StorageError::Closed)??);
        }
        Ok(found)
    }
}

async fn serve(mut link: Link, queue: Arc<Mutex<Inbox<Lookup>>>, mut closing: Closing) {
    while let Some(lookups) = next_batch(&queue, STATEMENT_KEYS, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for Lookup { asked, question } in lookups {
            match question {
                late if asked.elapsed() > QUEUE_LIMIT => late.refuse(),
                Question::Unihashes(keys, reply) => unihashes.push((keys, reply)),
                Question::Exist(keys, reply) => exist.push((keys, reply)),
            }
        }
        if !unihashes.is_empty() {
            let found = find_unihashes(&mut link, &unihashes).await;
            answer_all(unihashes.into_iter().map(|(keys, reply)| (keys.taskhashes.count(), reply)), found);
        }
        if !exist.is_empty() {
            let found = find_existing(&mut link, &exist).await;
            answer_all(exist.into_iter().map(|(keys, reply)| (keys.count(), reply)), found);
        }
    }
    link.close().await;
}

async fn find_unihashes(
    link: &mut Link,
    callers: &[(TaskKeys, Reply<Option<Unihash>>)],
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

async fn find_existing(link: &mut Link, callers: &[(Texts, Reply<bool>)]) -> Result<Vec<bool>, Failure> {
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
