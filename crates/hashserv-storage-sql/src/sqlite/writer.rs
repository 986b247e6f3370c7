//! The one task that writes to the file.

use std::pin::pin;
use std::time::Duration;

use hashserv_storage::{MarkRequest, Unihash};
use sqlx::SqlStr;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::MutexGuard;
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, sleep};

use super::checkpoint::{self, Log};
use super::error::SharedError;
use super::foreign::{ForeignCommits, poll_ticks};
use super::json;
use super::mark::mark;
use super::place::{Place, growth};
use super::record::{Records, record};
use super::transaction;
use super::vacuum::Vacuum;
use crate::closing::Closing;
use crate::queue::{Queue, Recordable as _, Transactions, queue, serve};

/// How long to wait before what found the file locked is tried again.
const PAUSE: Duration = Duration::from_millis(1);

/// What writes, in its task.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    log: Log,
    vacuum: Vacuum,
}

/// The file through the connection that writes, with an eye on what others commit also while it waits.
#[derive(Debug)]
struct File {
    connection: SqliteConnection,
    commits: ForeignCommits,
    place: Place,
    ticks: Interval,
}

/// What one transaction may cost.
struct Effort {
    /// When the first of its callers has waited long enough.
    until: Instant,
    /// Bytes that it adds to the log, as an estimate.
    growth: u64,
    /// The log was moved to make room.
    has_made_room: bool,
}

impl Effort {
    fn new(until: Instant, growth: u64) -> Self {
        Effort { until, growth, has_made_room: false }
    }
}

/// A transaction by itself, made with `transaction!`, which gives an array of numbers.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) sql: SqlStr,
    pub(crate) arguments: Vec<String>,
}

impl Writer {
    /// Starts the task; it ends when `closing` turns true, and gives the connection back if it may be closed.
    pub(crate) fn start(
        connection: SqliteConnection,
        commits: ForeignCommits,
        place: Place,
        vacuum: Vacuum,
        log: Log,
        closing: Closing,
    ) -> (Queue<Self>, JoinHandle<Option<SqliteConnection>>) {
        let (queue, jobs) = queue();
        let file = File { connection, commits, place, ticks: poll_ticks() };
        let writer = Writer { file, log, vacuum };
        let task = async move {
            let File { connection, place, .. } = serve(writer, jobs, closing).await.file;
            place.leave(connection)
        };
        (queue, tokio::spawn(task))
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

    /// Makes sure that the file is still there and the disk has room.
    async fn expect_place_for(&mut self, effort: &mut Effort) -> Result<(), SharedError> {
        self.place.look_if_due(&mut self.connection).await?;
        if self.place.has_room_for(effort.growth) {
            return Ok(());
        }
        self.place.look(&mut self.connection).await?;
        if !self.place.has_room_for(effort.growth) && !effort.has_made_room {
            self.make_room(effort).await;
            self.place.look(&mut self.connection).await?;
        }
        // The log must never fill the disk: then it could not be moved into the database, which grows by that.
        if self.place.has_room_for(effort.growth) { Ok(()) } else { Err(SharedError::no_room()) }
    }

    /// Whether to try again what has failed: while another process has the lock, until then; once where the disk is
    /// full, after the log gave its room back.
    async fn endures(&mut self, failure: &SharedError, effort: &mut Effort) -> bool {
        if Instant::now() >= effort.until {
            return false;
        }
        if failure.is_write_error() && !effort.has_made_room {
            self.make_room(effort).await;
            return true;
        }
        if !failure.is_busy() {
            return false;
        }
        self.commits.check_if_due(&mut self.connection).await;
        // Mostly SQLite has waited; where it has not, others shall have the processor.
        sleep(PAUSE).await;
        true
    }

    /// Moves all of the log into the database, and makes its file empty.
    async fn make_room(&mut self, effort: &mut Effort) {
        effort.has_made_room = true;
        if let Err(error) = checkpoint::empty_log(&mut self.connection).await {
            tracing::debug!(%error, "emptying the write-ahead log failed");
        }
    }
}

impl Transactions for Writer {
    type Records = Records;
    type Statements = Statements;
    type Failure = SharedError;

    async fn record(&mut self, records: &[&Records], until: Instant) -> Result<Vec<Unihash>, SharedError> {
        let count = records.iter().map(|records| records.count()).sum();
        let text = records.iter().map(|records| records.bytes()).sum();
        let mut effort = Effort::new(until, growth(count, text));
        let unihashes = loop {
            let _writing = self.file.turn(&self.log).await;
            self.file.expect_place_for(&mut effort).await?;
            match record(&mut self.file.connection, records).await {
                Err(failure) if self.file.endures(&failure, &mut effort).await => {}
                result => break result?,
            }
        };
        self.added(effort.growth, count);
        Ok(unihashes)
    }

    async fn mark(&mut self, requests: &[&MarkRequest], until: Instant) -> Result<Vec<u64>, SharedError> {
        // A mark is in no index, so it changes one page and not some ten.
        let count = requests.len().div_ceil(8);
        let mut effort = Effort::new(until, growth(count, 0));
        let counts = loop {
            let _writing = self.file.turn(&self.log).await;
            self.file.expect_place_for(&mut effort).await?;
            match mark(&mut self.file.connection, requests.iter().copied()).await {
                Err(failure) if self.file.endures(&failure, &mut effort).await => {}
                result => break result?,
            }
        };
        self.added(effort.growth, count);
        Ok(counts)
    }

    async fn run(&mut self, statements: Statements, until: Instant) -> Result<Vec<i64>, SharedError> {
        let Statements { sql, arguments } = statements;
        let mut effort = Effort::new(until, growth(1, 0));
        let numbers = loop {
            let _writing = self.file.turn(&self.log).await;
            self.file.expect_place_for(&mut effort).await?;
            match transaction::run(&mut self.file.connection, sql.clone(), arguments.clone()).await {
                Err(failure) if self.file.endures(&failure, &mut effort).await => {}
                result => break result?,
            }
        };
        let numbers = json::parse_numbers(&numbers).map_err(|error| sqlx::Error::Decode(error.into()))?;
        // The first tells how many rows were changed; what else a transaction does is as much as one.
        let changed = numbers.first().and_then(|changed| usize::try_from(*changed).ok());
        let changed = changed.unwrap_or_default().max(1);
        self.added(growth(changed, 0), changed);
        self.vacuum.rows_were_removed();
        Ok(numbers)
    }

    async fn idle(&mut self) {
        self.file.ticks.tick().await;
    }

    async fn tend(&mut self) {
        let File { connection, commits, place, .. } = &mut self.file;
        commits.check_if_due(connection).await;
        // The next write hears of it if the file is lost.
        let is_there = place.look_if_due(connection).await.is_ok();
        if is_there && self.vacuum.is_due() {
            let _writing = self.file.turn(&self.log).await;
            self.vacuum.step(&mut self.file.connection).await;
        }
    }
}

impl Writer {
    /// Counts what was committed.
    fn added(&mut self, growth: u64, records: usize) {
        self.file.place.add(growth);
        self.log.add(records);
    }
}

#[cfg(test)]
mod tests {
    use hashserv_storage::NewUser;
    use sqlx::Executor as _;
    use tempfile::TempDir;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::super::accounts;
    use super::super::connect::Connector;
    use super::*;
    use crate::options::Synchronous;

    /// A writer, its log, and what tells of others' commits.
    async fn start(directory: &TempDir) -> (Queue<Writer>, Log, watch::Receiver<u64>, watch::Sender<bool>) {
        let mut connection = connect(directory).await;
        let commits = ForeignCommits::begin(&mut connection).await.unwrap();
        let (log, closing, foreign) = (Log::default(), watch::Sender::new(false), commits.subscribe());
        let path = directory.path().join("hashserv.db");
        let place = Place::begin(&path, &mut connection, true, watch::Sender::new(false)).await.unwrap();
        let vacuum = Vacuum::begin(&mut connection).await.unwrap();
        let is_closing = Closing::of(&closing);
        let (queue, _) = Writer::start(connection, commits, place, vacuum, log.clone(), is_closing);
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
        let both = async { tokio::join!(create_user(&queue), changes) };
        let (created, ()) = timeout(Duration::from_secs(60), both).await.expect("the commits are noticed");
        assert!(created);
    }
}
