//! The one task that writes to the file.

use hashserv_storage::{MarkRequest, Unihash};
use sqlx::SqlStr;
use sqlx::sqlite::SqliteConnection;
use tokio::task::JoinHandle;
use tokio::time::Interval;

use super::checkpoint::Log;
use super::error::SharedError;
use super::foreign::{ForeignCommits, poll_ticks};
use super::json;
use super::mark::mark;
use super::record::{Records, record};
use super::transaction;
use crate::closing::Closing;
use crate::queue::{Queue, Recordable as _, Transactions, queue, serve};

/// What writes, in its task.
#[derive(Debug)]
pub(crate) struct Writer {
    connection: SqliteConnection,
    commits: ForeignCommits,
    ticks: Interval,
    log: Log,
}

/// A transaction by itself, made with `transaction!`, which gives an array of numbers.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) sql: SqlStr,
    pub(crate) arguments: Vec<String>,
}

impl Writer {
    /// Starts the task; it ends when `closing` turns true, and gives the connection back.
    pub(crate) fn start(
        connection: SqliteConnection,
        commits: ForeignCommits,
        log: Log,
        closing: Closing,
    ) -> (Queue<Self>, JoinHandle<SqliteConnection>) {
        let (queue, jobs) = queue();
        let writer = Writer { connection, commits, ticks: poll_ticks(), log };
        (queue, tokio::spawn(async move { serve(writer, jobs, closing).await.connection }))
    }
}

impl Transactions for Writer {
    type Records = Records;
    type Statements = Statements;
    type Failure = SharedError;

    async fn record(&mut self, records: &[&Records]) -> Result<Vec<Unihash>, SharedError> {
        let _writing = self.log.writing().await;
        let unihashes = record(&mut self.connection, records).await?;
        self.log.add(records.iter().map(|records| records.count()).sum());
        Ok(unihashes)
    }

    async fn mark(&mut self, requests: &[&MarkRequest]) -> Result<Vec<u64>, SharedError> {
        let _writing = self.log.writing().await;
        let counts = mark(&mut self.connection, requests.iter().copied()).await?;
        // A mark is in no index, so it changes one page and not some ten.
        self.log.add(requests.len().div_ceil(8));
        Ok(counts)
    }

    async fn run(&mut self, statements: Statements) -> Result<Vec<i64>, SharedError> {
        let _writing = self.log.writing().await;
        let Statements { sql, arguments } = statements;
        let numbers = transaction::run(&mut self.connection, sql, arguments).await?;
        let numbers = json::parse_numbers(&numbers).map_err(|error| sqlx::Error::Decode(error.into()))?;
        // The first tells how many rows were changed; what else a transaction does is as much as one.
        let changed = numbers.first().and_then(|changed| usize::try_from(*changed).ok());
        self.log.add(changed.unwrap_or_default().max(1));
        Ok(numbers)
    }

    async fn idle(&mut self) {
        self.ticks.tick().await;
    }

    async fn tend(&mut self) {
        self.commits.check_if_due(&mut self.connection).await;
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::NewUser;
    use tokio::sync::watch;

    use super::super::accounts;
    use super::super::connect::Connector;
    use super::*;
    use crate::options::Synchronous;

    #[tokio::test]
    async fn a_change_of_one_account_is_no_reason_to_move_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hashserv.db");
        let (_, mut connection) = Connector::for_writing(&path, Synchronous::Normal).await.unwrap();
        let commits = ForeignCommits::begin(&mut connection).await.unwrap();
        let (log, closing) = (Log::default(), watch::Sender::new(false));
        let (queue, task) = Writer::start(connection, commits, log.clone(), Closing::of(&closing));
        let user = |name: &str| NewUser {
            name: name.to_owned(),
            token_hash: String::new(),
            permissions: String::new(),
        };
        assert!(accounts::create(&queue, user("u")).await.unwrap());
        assert!(!accounts::create(&queue, user("u")).await.unwrap());
        assert_eq!(log.records(), 2);
        drop(queue);
        task.await.unwrap();
    }
}
