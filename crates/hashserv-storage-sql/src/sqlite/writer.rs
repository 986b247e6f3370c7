//! The one task that writes to the file.

use std::pin::pin;
use std::time::Duration;

use hashserv_storage::{MarkRequest, Unihash};
use sqlx::SqlStr;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, sleep};

use super::checkpoint::Log;
use super::error::SharedError;
use super::foreign::{ForeignCommits, poll_ticks};
use super::json;
use super::mark::mark;
use super::record::{Records, record};
use super::transaction;
use crate::closing::Closing;
use crate::queue::{Queue, Recordable as _, Transactions, queue, serve};

/// How long to wait before what found the file locked is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// What writes, in its task.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    log: Log,
}

/// The file through the connection that writes, with an eye on what others commit also while it waits.
#[derive(Debug)]
struct File {
    connection: SqliteConnection,
    commits: ForeignCommits,
    ticks: Interval,
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
        let writer = Writer { file: File { connection, commits, ticks: poll_ticks() }, log };
        (queue, tokio::spawn(async move { serve(writer, jobs, closing).await.file.connection }))
    }
}

impl File {
    /// Waits until the checkpoints let it write.
    async fn turn<'a>(&mut self, log: &'a Log) -> MutexGuard<'a, ()> {
        let mut writing = pin!(log.writing());
        loop {
            tokio::select! {
                biased;
                turn = &mut writing => return turn,
                _ = self.ticks.tick() => self.commits.check(&mut self.connection).await,
            }
        }
    }

    /// Whether to try again what has failed: while another process has the lock, until then.
    async fn endures(&mut self, failure: &SharedError, until: Instant) -> bool {
        if !failure.is_busy() || Instant::now() >= until {
            return false;
        }
        self.commits.check_if_due(&mut self.connection).await;
        // Mostly SQLite has waited; where it has not, others shall have the processor.
        sleep(PAUSE).await;
        true
    }
}

impl Transactions for Writer {
    type Records = Records;
    type Statements = Statements;
    type Failure = SharedError;

    async fn record(&mut self, records: &[&Records], until: Instant) -> Result<Vec<Unihash>, SharedError> {
        let unihashes = loop {
            let _writing = self.file.turn(&self.log).await;
            match record(&mut self.file.connection, records).await {
                Err(failure) if self.file.endures(&failure, until).await => {}
                result => break result?,
            }
        };
        self.log.add(records.iter().map(|records| records.count()).sum());
        Ok(unihashes)
    }

    async fn mark(&mut self, requests: &[&MarkRequest], until: Instant) -> Result<Vec<u64>, SharedError> {
        let counts = loop {
            let _writing = self.file.turn(&self.log).await;
            match mark(&mut self.file.connection, requests.iter().copied()).await {
                Err(failure) if self.file.endures(&failure, until).await => {}
                result => break result?,
            }
        };
        // A mark is in no index, so it changes one page and not some ten.
        self.log.add(requests.len().div_ceil(8));
        Ok(counts)
    }

    async fn run(&mut self, statements: Statements, until: Instant) -> Result<Vec<i64>, SharedError> {
        let Statements { sql, arguments } = statements;
        let numbers = loop {
            let _writing = self.file.turn(&self.log).await;
            match transaction::run(&mut self.file.connection, sql.clone(), arguments.clone()).await {
                Err(failure) if self.file.endures(&failure, until).await => {}
                result => break result?,
            }
        };
        let numbers = json::parse_numbers(&numbers).map_err(|error| sqlx::Error::Decode(error.into()))?;
        // The first tells how many rows were changed; what else a transaction does is as much as one.
        let changed = numbers.first().and_then(|changed| usize::try_from(*changed).ok());
        self.log.add(changed.unwrap_or_default().max(1));
        Ok(numbers)
    }

    async fn idle(&mut self) {
        self.file.ticks.tick().await;
    }

    async fn tend(&mut self) {
        let File { connection, commits, .. } = &mut self.file;
        commits.check_if_due(connection).await;
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::NewUser;
    use sqlx::Executor as _;
    use tempfile::TempDir;
    use tokio::sync::watch;

    use super::super::accounts;
    use super::super::connect::Connector;
    use super::*;
    use crate::options::Synchronous;

    /// A writer, its log, and what tells of others' commits.
    async fn start(directory: &TempDir) -> (Queue<Writer>, Log, watch::Receiver<u64>, watch::Sender<bool>) {
        let mut connection = connect(directory).await;
        let commits = ForeignCommits::begin(&mut connection).await.unwrap();
        let (log, closing, foreign) = (Log::default(), watch::Sender::new(false), commits.subscribe());
        let (queue, _) = Writer::start(connection, commits, log.clone(), Closing::of(&closing));
        (queue, log, foreign, closing)
    }

    async fn connect(directory: &TempDir) -> SqliteConnection {
        let path = directory.path().join("hashserv.db");
        Connector::for_writing(&path, Synchronous::Normal).await.unwrap().1
    }

    async fn create_user(queue: &Queue<Writer>) -> bool {
        let (name, token_hash, permissions) = ("u".to_owned(), String::new(), String::new());
        accounts::create(queue, NewUser { name, token_hash, permissions }).await.unwrap()
    }

    #[tokio::test]
    async fn a_change_of_one_account_is_no_reason_to_move_the_log() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, log, _, _closing) = start(&directory).await;
        assert!(create_user(&queue).await);
        assert!(!create_user(&queue).await);
        assert_eq!(log.records(), 2);
    }

    #[tokio::test]
    async fn commits_of_others_are_noticed_while_a_checkpoint_keeps_the_writer_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let (queue, log, mut foreign, _closing) = start(&directory).await;
        let mut other = connect(&directory).await;
        let pause = log.writing().await;
        let changes = async {
            for _ in 0..3 {
                other.execute("INSERT INTO config (name) VALUES (random())").await.unwrap();
                foreign.changed().await.unwrap();
            }
            drop(pause);
        };
        assert!(tokio::join!(create_user(&queue), changes).0);
    }
}
