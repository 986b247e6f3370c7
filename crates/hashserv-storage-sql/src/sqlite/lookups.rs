//! Look-ups: gathered from all callers, answered many at a time.

use std::sync::Arc;

use hashserv_storage::{StorageError, TaskKey, Unihash};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::SharedError;
use super::json::{self, Items};
use crate::closing::Closing;
use crate::gather::{Weighed, gather};
use crate::queue::SharedFailure as _;

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
    reply: Reply,
}

type Answers<T> = oneshot::Sender<Result<Vec<T>, StorageError>>;

#[derive(Debug)]
enum Reply {
    Unihashes(Answers<Option<Unihash>>),
    Exist(Answers<bool>),
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
        self.ask(items, Reply::Unihashes).await
    }

    pub(crate) async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        self.ask(Items::of_texts(unihashes), Reply::Exist).await
    }

    async fn ask<T>(
        &self,
        items: Items,
        reply: impl FnOnce(Answers<T>) -> Reply,
    ) -> Result<Vec<T>, StorageError> {
        let (sender, answer) = oneshot::channel();
        let lookup = Lookup { items, reply: reply(sender) };
        self.queue.send(lookup).await.map_err(|_| StorageError::Closed)?;
        answer.await.map_err(|_| StorageError::Closed)?
    }
}

async fn serve(
    mut connection: SqliteConnection,
    queue: Arc<Mutex<mpsc::Receiver<Lookup>>>,
    mut closing: Closing,
) {
    while let Some(lookups) = next_batch(&queue, &mut closing).await {
        let mut unihashes = Vec::new();
        let mut exist = Vec::new();
        for Lookup { items, reply } in lookups {
            match reply {
                Reply::Unihashes(reply) => unihashes.push((items, reply)),
                Reply::Exist(reply) => exist.push((items, reply)),
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

/// Waits for look-ups; `None` when there will be no more.
async fn next_batch(
    queue: &Mutex<mpsc::Receiver<Lookup>>,
    closing: &mut Closing,
) -> Option<std::collections::VecDeque<Lookup>> {
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
fn answer<T>(callers: Vec<(Items, Answers<T>)>, found: Result<Vec<T>, SharedError>) {
    let total = callers.iter().map(|(items, _)| items.count()).sum();
    let found = found.and_then(|found| {
        json::expect_count(found, total).map_err(|error| sqlx::Error::Decode(error.into()).into())
    });
    match found {
        Ok(found) => {
            let mut found = found.into_iter();
            for (items, reply) in callers {
                // A caller that has gone wants no answer.
                let _ = reply.send(Ok(found.by_ref().take(items.count()).collect()));
            }
        }
        Err(error) => {
            for (_, reply) in callers {
                let _ = reply.send(Err(error.storage_error()));
            }
        }
    }
}

fn parse_flags(json: &str) -> Result<Vec<bool>, serde_json::Error> {
    Ok(json::parse_numbers(json)?.into_iter().map(|number| number != 0).collect())
}
