//! Look-ups: gathered from all callers, answered many at a time.

use std::sync::Arc;

use hashserv_storage::{StorageError, TaskKey, Unihash};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::SharedError;
use super::json::{self, Items};
use crate::answers::{Reply, answer_all};
use crate::closing::Closing;
use crate::gather::{Weighed, next_batch};

/// How many calls may wait; further ones wait to be let in.
const QUEUE: usize = 1024;
/// At how many keys one statement is full.
const STATEMENT_KEYS: usize = 1024;

/// One value for all keys, as each row of a result would cost a hand-over between threads.
const UNIHASHES: &str = "\
    SELECT json_group_array((SELECT unihash FROM unihashes_v3 WHERE method = k.value AND taskhash = k.key)) \
    FROM json_each(?1) AS k";

const UNIHASHES_EXIST: &str = "\
    SELECT json_group_array(EXISTS (SELECT 1 FROM unihashes_v3 WHERE unihash = k.value)) \
    FROM json_each(?1) AS k";

/// The queue to the tasks that look up.
#[derive(Debug)]
pub(crate) struct Lookups {
    queue: mpsc::Sender<Lookup>,
}

/// What one caller asks, and where the answer goes.
#[derive(Debug)]
struct Lookup {
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
        self.items.count()
    }
}

impl Lookups {
    /// Starts a task for each connection; they end when `closing` turns true, or this value is dropped.
    pub(crate) fn start(
        connections: Vec<SqliteConnection>,
        closing: &Closing,
    ) -> (Self, Vec<JoinHandle<()>>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let queue = Arc::new(Mutex::new(receiver));
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
        let lookup = Lookup { items, question: question(sender) };
        self.queue.send(lookup).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

async fn serve(
    mut connection: SqliteConnection,
    queue: Arc<Mutex<mpsc::Receiver<Lookup>>>,
    mut closing: Closing,
) {
    while let Some(lookups) = next_batch(&queue, STATEMENT_KEYS, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for Lookup { items, question } in lookups {
            match question {
                Question::Unihashes(reply) => unihashes.push((items, reply)),
                Question::Exist(reply) => exist.push((items, reply)),
            }
        }
        if !unihashes.is_empty() {
            let keys = json::object(unihashes.iter().map(|(items, _)| items));
            let found = look_up(&mut connection, UNIHASHES, keys, json::parse_unihashes).await;
            answer(unihashes, found);
        }
        if !exist.is_empty() {
            let keys = json::array(exist.iter().map(|(items, _)| items));
            let found = look_up(&mut connection, UNIHASHES_EXIST, keys, parse_flags).await;
            answer(exist, found);
        }
    }
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "closing a connection of the database failed");
    }
}

async fn look_up<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    keys: String,
    parse: fn(&str) -> Result<Vec<T>, serde_json::Error>,
) -> Result<Vec<T>, SharedError> {
    let found: String = sqlx::query_scalar(sql).bind(keys).fetch_one(connection).await?;
    parse(&found).map_err(|error| sqlx::Error::Decode(error.into()).into())
}

/// Gives each caller its part of the results.
fn answer<T>(callers: Vec<(Items, Reply<T>)>, found: Result<Vec<T>, SharedError>) {
    let total = callers.iter().map(|(items, _)| items.count()).sum();
    let found = found.and_then(|found| {
        json::expect_count(found, total).map_err(|error| sqlx::Error::Decode(error.into()).into())
    });
    answer_all(callers.into_iter().map(|(items, reply)| (items.count(), reply)), found);
}

fn parse_flags(json: &str) -> Result<Vec<bool>, serde_json::Error> {
    Ok(json::parse_numbers(json)?.into_iter().map(|number| number != 0).collect())
}
