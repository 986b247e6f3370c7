//! Look-ups: gathered from all callers, answered many at a time.

use std::sync::Arc;

use hashserv_storage::{StorageError, TaskKey, Unihash};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::error::SharedError;
use super::json::{self, Items};
use super::texts::lenient;
use crate::answers::{Reply, answer_all};
use crate::closing::Closing;
use crate::deadline::{LOOKUP_DEADLINE, LOOKUP_START_DEADLINE, late, within};
use crate::gather::{Inbox, Weighed, next_batch};
use crate::halves::Halves;

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many bytes of keys one statement is full.
const STATEMENT_BYTES: usize = 1 << 20;
/// Weight of a key besides its text, so that a statement has 1024 keys at most.
const KEY_BYTES: usize = STATEMENT_BYTES / 1024;

/// One value for all keys, as each row of a result would cost a hand-over between threads. A BLOB, which JSON cannot
/// hold, is taken as text.
const UNIHASHES: &str = "\
    SELECT json_group_array((SELECT CAST(unihash AS TEXT) FROM unihashes_v3 \
                             WHERE method = k.value AND taskhash = k.key)) \
    FROM json_each(?1) AS k";

const UNIHASHES_EXIST: &str = "\
    SELECT json_group_array(EXISTS (SELECT 1 FROM unihashes_v3 WHERE unihash = k.value)) \
    FROM json_each(?1) AS k";

/// The queue to the tasks that look up.
#[derive(Debug)]
pub(crate) struct Lookups {
    queue: mpsc::Sender<Lookup>,
}

/// What one caller asks, since when it waits, and where the answer goes.
#[derive(Debug)]
struct Lookup {
    called: Instant,
    items: Items,
    question: Question,
}

#[derive(Debug)]
enum Question {
    Unihashes(Reply<Option<Unihash>>),
    Exist(Reply<bool>),
}

impl Weighed for Lookup {
    fn weight(&self) -> usize {
        self.items.count() * KEY_BYTES + self.items.bytes()
    }
}

impl Question {
    /// Answers that the turn came too late.
    fn refuse(self) {
        // A caller that has gone wants no answer.
        match self {
            Question::Unihashes(reply) => drop(reply.send(Err(late(LOOKUP_START_DEADLINE)))),
            Question::Exist(reply) => drop(reply.send(Err(late(LOOKUP_START_DEADLINE)))),
        }
    }
}

impl Lookups {
    /// Starts a task for each connection; they end when `closing` turns true, or this value is dropped.
    pub(crate) fn start(
        connections: Vec<SqliteConnection>,
        closing: &Closing,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(Inbox::new(receiver)));
        let tasks = connections
            .into_iter()
            .map(|connection| tokio::spawn(serve(connection, Arc::clone(&queue), closing.clone())));
        (Lookups { queue: sender }, tasks.collect())
    }

    pub(crate) async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        let items = Items::of_task_keys(keys.iter().copied());
        self.ask(items, Question::Unihashes).await
    }

    pub(crate) async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        self.ask(Items::of_texts(unihashes), Question::Exist).await
    }

    async fn ask<T>(
        &self,
        items: Items,
        question: impl FnOnce(Reply<T>) -> Question,
    ) -> Result<Vec<T>, StorageError> {
        let (sender, answer) = oneshot::channel();
        let called = Instant::now();
        let lookup = Lookup { called, items, question: question(sender) };
        let asking = async {
            self.queue.send(lookup).await.map_err(|_| StorageError::Closed)?;
            answer.await.map_err(|_| StorageError::Closed)?
        };
        within(called, LOOKUP_DEADLINE, asking).await
    }
}

async fn serve(mut connection: SqliteConnection, queue: Arc<Mutex<Inbox<Lookup>>>, mut closing: Closing) {
    while let Some(lookups) = next_batch(&queue, STATEMENT_BYTES, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for Lookup { called, items, question } in lookups {
            match question {
                late if called.elapsed() >= LOOKUP_START_DEADLINE => late.refuse(),
                Question::Unihashes(reply) => unihashes.push((items, reply)),
                Question::Exist(reply) => exist.push((items, reply)),
            }
        }
        look_up_all(&mut connection, &FIND_UNIHASHES, unihashes).await;
        look_up_all(&mut connection, &FIND_EXISTING, exist).await;
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a connection of the database failed");
    }
}

/// A statement that looks up keys.
struct Statement<T> {
    sql: &'static str,
    /// Joins the keys of several callers.
    join: fn(&[&Items]) -> String,
    parse: fn(&str) -> Result<Vec<T>, serde_json::Error>,
}

const FIND_UNIHASHES: Statement<Option<Unihash>> = Statement {
    sql: UNIHASHES,
    join: |keys| json::object(keys.iter().copied()),
    parse: json::parse_unihashes,
};

const FIND_EXISTING: Statement<bool> =
    Statement { sql: UNIHASHES_EXIST, join: |keys| json::array(keys.iter().copied()), parse: parse_flags };

/// Gives each caller its part of the results.
async fn look_up_all<T>(
    connection: &mut SqliteConnection,
    statement: &Statement<T>,
    callers: Vec<(Items, Reply<T>)>,
) {
    let mut halves = Halves::of(callers);
    while let Some(callers) = halves.next() {
        if callers.is_empty() {
            continue;
        }
        let keys: Vec<&Items> = callers.iter().map(|(items, _)| items).collect();
        let found = look_up(connection, statement, &keys).await;
        if let Some(callers) = halves.settle(callers, &found) {
            answer_all(callers.into_iter().map(|(items, reply)| (items.count(), reply)), found);
        }
    }
}

async fn look_up<T>(
    connection: &mut SqliteConnection,
    statement: &Statement<T>,
    keys: &[&Items],
) -> Result<Vec<T>, SharedError> {
    let query = sqlx::query_scalar(statement.sql).bind((statement.join)(keys));
    let found: Vec<u8> = query.fetch_one(connection).await?;
    let found = (statement.parse)(&lenient(found))
        .and_then(|found| json::expect_count(found, keys.iter().map(|items| items.count()).sum()));
    found.map_err(|error| sqlx::Error::Decode(error.into()).into())
}

fn parse_flags(json: &str) -> Result<Vec<bool>, serde_json::Error> {
    Ok(json::parse_numbers(json)?.into_iter().map(|number| number != 0).collect())
}
