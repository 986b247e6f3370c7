//! The embedded database.
//!
//! One connection writes, in a task that makes one transaction of what gathers while it is busy ([`writer`]).
//! Some connections look up hashes, each in a task that makes one statement of what gathers ([`lookups`]).
//! A few more read rows and totals ([`reads`]). The file is in WAL mode, so that readers and the writer do not
//! wait for each other; other processes may use it at the same time.

mod accounts;
mod bulk;
mod checkpoint;
mod connect;
mod error;
mod foreign;
mod json;
mod lookups;
mod mark;
mod mark_in_chunks;
mod place;
mod reads;
mod record;
mod schema;
mod texts;
mod transaction;
mod vacuum;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use hashserv_storage::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage, StorageError,
    StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::bulk::Bulk;
use self::checkpoint::Log;
use self::connect::Connector;
use self::error::storage_error;
use self::foreign::ForeignCommits;
use self::lookups::Lookups;
use self::place::Place;
use self::reads::Reads;
use self::record::Records;
use self::vacuum::Vacuum;
use self::writer::Writer;
use crate::closing::Closing;
use crate::options::Options;
use crate::queue::Queue;

/// How many connections may look up hashes.
const READERS: std::ops::RangeInclusive<usize> = 1..=16;

/// Storage in an SQLite file.
///
/// # Bounds
///
/// 1024 calls that look up and 1024 calls that write may wait; further ones wait to be let in. Of calls that write more
/// than 256 KiB of text, 64 MiB may wait, and others are served between them. A write waits
/// up to 20 seconds for other processes and those before it, and 24 in all; a look-up up to 10 and 20. Then they fail
/// with [`StorageError::Timeout`], and one that has not started is not run any more. What reads whole tables
/// ([`gc_status`](Storage::gc_status), [`usage`](Storage::usage), searching for what to remove) does so one after
/// the other: each waits up to 300 seconds for the one before it, then fails likewise.
///
/// # Long work
///
/// [`remove`](Storage::remove), [`clean_unused`](Storage::clean_unused), [`sweep`](Storage::sweep) and a
/// [`mark`](Storage::mark) that no index serves are done in chunks of 2,000 rows, each a transaction, with other writes
/// in between. Those that remove go on when their caller has gone. [`close`](Storage::close) stops them after the chunk at hand: what they removed stays
/// removed, and a sweep that was stopped can be repeated, as its mark is still current.
///
/// # Other processes
///
/// Every commit of another process is told by [`foreign_removals`](Storage::foreign_removals), as SQLite does
/// not tell what it changed: within 200 ms, or after the own transaction that runs then, should that take longer.
///
/// Dropping the storage without [`close`](Storage::close) loses nothing that was acknowledged.
pub struct SqliteStorage {
    path: PathBuf,
    lookups: Lookups,
    reads: Reads,
    /// Absent where the database is only read.
    bulk: Option<Bulk>,
    foreign: watch::Receiver<u64>,
    lost: watch::Receiver<bool>,
    closing: watch::Sender<bool>,
    tasks: Mutex<Tasks>,
}

/// What [`Storage::close`] waits for.
struct Tasks {
    helpers: Vec<JoinHandle<()>>,
    /// Closed after the others: who closes last moves the write-ahead log into the database, and a connection
    /// that only reads could not.
    main: Option<JoinHandle<Option<SqliteConnection>>>,
}

/// The file as it was opened.
struct Opened {
    main: SqliteConnection,
    commits: ForeignCommits,
    place: Place,
    /// Absent where the database is only read.
    writing: Option<Writing>,
}

/// Parts of an opened file that only a writer needs.
struct Writing {
    vacuum: Vacuum,
    checkpoints: SqliteConnection,
}

impl SqliteStorage {
    /// Opens the file; one that does not exist is created, an old one upgraded, unless it is opened read-only.
    ///
    /// # Errors
    ///
    /// [`StorageError::Open`] where that fails.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time: what was created or upgraded by then is complete in itself.
    pub async fn open(path: impl AsRef<Path>, options: &Options) -> Result<Self, StorageError> {
        let path = path.as_ref();
        let (connector, mut main) = if options.read_only {
            Connector::for_reading(path).await?
        } else {
            let (connector, mut writer) = Connector::for_writing(path, options.synchronous).await?;
            record::create_recorder(&mut writer).await.map_err(storage_error)?;
            mark::create_marker(&mut writer).await.map_err(storage_error)?;
            (connector, writer)
        };
        let commits = ForeignCommits::begin(&mut main).await.map_err(storage_error)?;
        let lost = watch::Sender::new(false);
        let is_lost = lost.subscribe();
        let place = Place::begin(path, &mut main, !options.read_only, lost).await.map_err(storage_error)?;
        let writing = if options.read_only {
            None
        } else {
            let vacuum = Vacuum::begin(&mut main).await.map_err(storage_error)?;
            Some(Writing { vacuum, checkpoints: connector.for_checkpoints().await? })
        };
        let mut readers = Vec::new();
        for _ in 0..options.readers.clamp(*READERS.start(), *READERS.end()) {
            readers.push(connector.reader().await?);
        }
        let file = Opened { main, commits, place, writing };
        Ok(Self::start(path, &connector, file, readers, is_lost))
    }

    fn start(
        path: &Path,
        connector: &Connector,
        file: Opened,
        readers: Vec<SqliteConnection>,
        lost: watch::Receiver<bool>,
    ) -> Self {
        let closing = watch::Sender::new(false);
        let is_closing = Closing::of(&closing);
        let Opened { main, commits, place, writing } = file;
        let foreign = commits.subscribe();
        let (lookups, mut helpers) = Lookups::start(readers, &is_closing);
        let reads = Reads::new(connector);
        let (bulk, main) = match writing {
            None => (None, tokio::spawn(foreign::watch_alone(main, commits, place, is_closing))),
            Some(Writing { vacuum, checkpoints }) => {
                let log = Log::default();
                helpers.push(checkpoint::start(checkpoints, log.clone(), is_closing.clone(), lost.clone()));
                let (writer, main) = Writer::start(main, commits, place, vacuum, log, is_closing);
                (Some(Bulk { scans: reads.scans().clone(), writer }), main)
            }
        };
        let tasks = Mutex::new(Tasks { helpers, main: Some(main) });
        SqliteStorage { path: path.to_owned(), lookups, reads, bulk, foreign, lost, closing, tasks }
    }

    fn bulk(&self) -> Result<&Bulk, StorageError> {
        self.bulk.as_ref().ok_or(StorageError::ReadOnly)
    }

    fn writer(&self) -> Result<&Queue<Writer>, StorageError> {
        self.bulk().map(|bulk| &bulk.writer)
    }
}

impl fmt::Debug for SqliteStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Result<Vec<Option<Unihash>>, StorageError> {
        self.lookups.unihashes(keys).await
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Result<Vec<bool>, StorageError> {
        self.lookups.unihashes_exist(unihashes).await
    }

    async fn newest_unihashes(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<StoredUnihash>, StorageError> {
        self.reads.newest_unihashes(before, limit).await
    }

    async fn task_row(&self, key: TaskKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.reads.task_row(key).await
    }

    async fn unified_outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<UnifiedRow>, StorageError> {
        self.reads.unified_outhash_row(key).await
    }

    async fn outhash_row(&self, key: OuthashKey<'_>) -> Result<Option<OuthashRow>, StorageError> {
        self.reads.outhash_row(key).await
    }

    async fn report(&self, reports: Vec<Report>) -> Result<Vec<Unihash>, StorageError> {
        let records = Records::of_reports(&reports);
        // They may be large, and wait for long.
        drop(reports);
        self.writer()?.record(records).await
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        self.writer()?.record(Records::of_entries(&entries)).await
    }

    async fn remove(&self, conditions: &Conditions) -> Result<u64, StorageError> {
        self.bulk()?.remove(conditions).await
    }

    async fn clean_unused(&self, before: Option<Timestamp>) -> Result<u64, StorageError> {
        self.bulk()?.clean_unused(before).await
    }

    async fn mark(&self, requests: Vec<MarkRequest>) -> Result<Vec<u64>, StorageError> {
        self.bulk()?.mark(requests).await
    }

    async fn gc_status(&self) -> Result<GcStatus, StorageError> {
        self.reads.gc_status().await
    }

    async fn sweep(&self, mark: &str) -> Result<Sweep, StorageError> {
        self.bulk()?.sweep(mark).await
    }

    async fn usage(&self) -> Result<Vec<TableUsage>, StorageError> {
        self.reads.usage().await
    }

    async fn user(&self, name: &str) -> Result<Option<UserRecord>, StorageError> {
        self.reads.user(name).await
    }

    async fn users(&self) -> Result<Vec<UserRecord>, StorageError> {
        self.reads.users().await
    }

    async fn create_user(&self, user: NewUser) -> Result<bool, StorageError> {
        accounts::create(self.writer()?, user).await
    }

    async fn put_user(&self, user: NewUser) -> Result<(), StorageError> {
        accounts::put(self.writer()?, user).await
    }

    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError> {
        accounts::set_permissions(self.writer()?, id, permissions).await
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        accounts::set_token(self.writer()?, id, token_hash).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        accounts::delete(self.writer()?, id).await
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.foreign.clone()
    }

    async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // Whoever watched the file has ended without having missed it.
            std::future::pending::<()>().await;
        }
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        let mut tasks = self.tasks.lock().await;
        while let Some(helper) = tasks.helpers.last_mut() {
            let _ = helper.await;
            tasks.helpers.pop();
        }
        self.reads.close().await;
        let Some(main) = tasks.main.as_mut() else { return };
        let main_ended = main.await;
        tasks.main = None;
        let Ok(Some(mut connection)) = main_ended else { return };
        // SQLite does it for the last one that closes, yet others may use the file.
        if self.bulk.is_some()
            && let Err(error) = checkpoint::empty_log(&mut connection).await
        {
            tracing::warn!(database = %self.path.display(), %error, "moving the write-ahead log failed");
        }
        if let Err(error) = connection.close().await {
            tracing::warn!(database = %self.path.display(), %error, "closing the database failed");
        }
    }
}
