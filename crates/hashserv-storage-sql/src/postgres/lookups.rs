//! Look-ups: gathered from all callers, answered many at a time.

use std::sync::Arc;

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
use crate::answers::{Reply, answer_all};
use crate::closing::Closing;
use crate::deadline::{LOOKUP_DEADLINE, LOOKUP_START_DEADLINE, late, within};
use crate::gather::{Inbox, Weighed, next_batch};
use crate::halves::Halves;

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many keys one statement is full. Larger ones are hardly faster; these let one large batch have several
/// connections at once.
const STATEMENT_KEYS: usize = 128;
/// Text of the keys at which one statement is full.
const STATEMENT_BYTES: usize = 64 << 10;
/// Weight of a key that is short, so that one statement has its number of keys at most.
const KEY_BYTES: usize = STATEMENT_BYTES / STATEMENT_KEYS;

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

/// What one caller asks, and when.
#[derive(Debug)]
struct Lookup {
    called: Instant,
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

impl TaskKeys {
    fn weight(&self) -> usize {
        weight(self.taskhashes.count(), self.methods.bytes() + self.taskhashes.bytes())
    }
}

/// Share of a statement that keys take, by their number or their text.
fn weight(keys: usize, bytes: usize) -> usize {
    bytes.max(keys * KEY_BYTES)
}

impl Question {
    /// Tells the caller that it has waited for too long.
    fn refuse(self) {
        let error = late(LOOKUP_START_DEADLINE);
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
            Question::Unihashes(keys, _) => keys.weight(),
            Question::Exist(unihashes, _) => weight(unihashes.count(), unihashes.bytes()),
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
        let questions = parts(keys, |key| key.method.len() + key.taskhash.len()).map(|keys| {
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
        let unihashes: Vec<String> = unihashes.iter().map(Unihash::to_string).collect();
        let questions = parts(&unihashes, String::len).map(|unihashes| {
            let mut texts = Texts::default();
            unihashes.iter().for_each(|unihash| texts.push(unihash));
            |reply| Question::Exist(texts, reply)
        });
        self.ask(questions).await
    }

    /// Has all parts under way before it waits for the first.
    async fn ask<T, F>(&self, questions: impl Iterator<Item = F>) -> Result<Vec<T>, StorageError>
    where
        F: FnOnce(Reply<T>) -> Question,
    {
        let called = Instant::now();
        let asking = async {
            let mut answers = Vec::new();
            for question in questions {
                let (sender, answer) = oneshot::channel();
                let lookup = Lookup { called, question: question(sender) };
                self.queue.send(lookup).await.map_err(|_| StorageError::Closed)?;
                answers.push(answer);
            }
            let mut found = Vec::new();
            for answer in answers {
                found.append(&mut answer.await.map_err(|_| StorageError::Closed)??);
            }
            Ok(found)
        };
        within(called, LOOKUP_DEADLINE, asking).await
    }
}

/// Splits keys so that each part fits into one statement; a key that is too large by itself is a part of its own.
fn parts<K>(mut keys: &[K], bytes: impl Fn(&K) -> usize) -> impl Iterator<Item = &[K]> {
    std::iter::from_fn(move || {
        let mut text = 0;
        let fits = |(index, key): &(usize, &K)| {
            text += bytes(key);
            *index == 0 || weight(index + 1, text) <= STATEMENT_BYTES
        };
        let count = keys.iter().enumerate().take_while(fits).count();
        let (part, rest) = keys.split_at(count);
        keys = rest;
        (!part.is_empty()).then_some(part)
    })
}

async fn serve(mut link: Link, queue: Arc<Mutex<Inbox<Lookup>>>, mut closing: Closing) {
    while let Some(lookups) = next_batch(&queue, STATEMENT_BYTES, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for Lookup { called, question } in lookups {
            match question {
                late if called.elapsed() > LOOKUP_START_DEADLINE => late.refuse(),
                Question::Unihashes(keys, reply) => unihashes.push(Asked { called, keys, reply }),
                Question::Exist(keys, reply) => exist.push(Asked { called, keys, reply }),
            }
        }
        answer_split(&mut link, unihashes).await;
        answer_split(&mut link, exist).await;
    }
    link.close().await;
}

/// Keys of one caller.
struct Asked<K: Findable> {
    called: Instant,
    keys: K,
    reply: Reply<K::Found>,
}

/// Keys of which one statement finds many.
trait Findable: Sized + Send + Sync {
    type Found: Send;

    fn count(&self) -> usize;

    /// Finds the keys of all callers.
    fn find(
        link: &mut Link,
        callers: &[Asked<Self>],
        until: Instant,
    ) -> impl Future<Output = Result<Vec<Self::Found>, Failure>> + Send;
}

/// Answers callers together; where that fails by the fault of one of them, only that one hears of it.
async fn answer_split<K: Findable>(link: &mut Link, callers: Vec<Asked<K>>) {
    let mut halves = Halves::of(callers);
    while let Some(callers) = halves.next() {
        let Some(first) = callers.iter().map(|caller| caller.called).min() else { continue };
        let found = K::find(link, &callers, first + LOOKUP_DEADLINE).await;
        if let Some(callers) = halves.settle(callers, &found) {
            answer_all(callers.into_iter().map(|caller| (caller.keys.count(), caller.reply)), found);
        }
    }
}

impl Findable for TaskKeys {
    type Found = Option<Unihash>;

    fn count(&self) -> usize {
        self.taskhashes.count()
    }

    async fn find(
        link: &mut Link,
        callers: &[Asked<Self>],
        until: Instant,
    ) -> Result<Vec<Option<Unihash>>, Failure> {
        let methods: Vec<_> = callers.iter().flat_map(|caller| caller.keys.methods.iter()).collect();
        let taskhashes: Vec<_> = callers.iter().flat_map(|caller| caller.keys.taskhashes.iter()).collect();
        let found: Vec<Option<String>> = match methods.first() {
            Some(Some(method)) if methods.iter().all(|other| *other == Some(*method)) => {
                let keys = [Argument::One(method), Argument::Many(&taskhashes)];
                find(link, UNIHASHES_OF_METHOD, &keys, until).await?
            }
            _ => {
                let keys = [Argument::Many(&methods), Argument::Many(&taskhashes)];
                find(link, UNIHASHES, &keys, until).await?
            }
        };
        Ok(found.into_iter().map(|unihash| unihash.as_deref().map(Unihash::from_stored)).collect())
    }
}

impl Findable for Texts {
    type Found = bool;

    fn count(&self) -> usize {
        self.count()
    }

    async fn find(link: &mut Link, callers: &[Asked<Self>], until: Instant) -> Result<Vec<bool>, Failure> {
        let unihashes: Vec<_> = callers.iter().flat_map(|caller| caller.keys.iter()).collect();
        let found: Vec<Option<bool>> =
            find(link, UNIHASHES_EXIST, &[Argument::Many(&unihashes)], until).await?;
        Ok(found.into_iter().map(|exists| exists == Some(true)).collect())
    }
}

/// An argument of a statement.
enum Argument<'a> {
    One(&'a str),
    Many(&'a [Option<&'a str>]),
}

/// Runs a statement that gives one array with an element for each of those in the arrays it is given.
async fn find<T>(
    link: &mut Link,
    sql: &'static str,
    keys: &[Argument<'_>],
    until: Instant,
) -> Result<Vec<Option<T>>, Failure>
where
    Vec<Option<T>>: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    T: Send + Unpin,
{
    let mut patience = Patience::at_most_until(until);
    loop {
        match find_once(link, sql, keys, until).await {
            Err(failure) if patience.endures(&failure).await => {}
            result => return result,
        }
    }
}

async fn find_once<T>(
    link: &mut Link,
    sql: &'static str,
    keys: &[Argument<'_>],
    until: Instant,
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
    let rows = link.fetch_all(sql, arguments, until).await?;
    Ok(rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_by_number_and_by_bytes() {
        let sizes = |keys: &[usize]| parts(keys, |bytes| *bytes).map(<[usize]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[90; 300]), [STATEMENT_KEYS, STATEMENT_KEYS, 44]);
        assert_eq!(sizes(&[STATEMENT_BYTES / 2; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[1, 2 * STATEMENT_BYTES, 1]), [1, 1, 1]);
        assert!(sizes(&[]).is_empty());
    }
}
