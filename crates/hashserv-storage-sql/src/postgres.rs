//! A database server that many hash equivalence servers may share.
//!
//! One connection writes, in a task that makes one transaction of what gathers while it is busy ([`writer`]).
//! Some connections look up hashes, each in a task that makes one statement of what gathers ([`lookups`]).
//! A few more read rows and totals ([`reads`]), and one hears of what others remove ([`removals`]).
//! Connections are made when they are needed, and made anew when they break ([`link`]); no client holds one.

mod accounts;
mod bulk;
mod error;
mod indexes;
mod link;
mod lookups;
mod mark;
mod mark_in_chunks;
mod patience;
mod reads;
mod record;
mod removals;
mod rows;
mod schema;
mod server;
mod statement;
mod texts;
mod transaction;
mod url;
mod writer;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hashserv_storage::{
    Conditions, GcStatus, MarkRequest, NewUser, OuthashKey, OuthashRow, Report, Storage, StorageError,
    StoredUnihash, Sweep, TableUsage, TaskKey, Timestamp, UnifiedRow, Unihash, UnihashEntry, UserRecord,
};
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Connection as _, Row as _};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use self::bulk::Bulk;
use self::link::{Link, Links};
use self::lookups::Lookups;
use self::reads::Reads;
use self::record::Records;
use self::removals::Origin;
use self::server::{Server, Session};
use self::statement::fetch_all_at_start;
use self::writer::Writer;
use crate::closing::Closing;
use crate::name::{DatabaseName, Place};
use crate::options::Options;

/// How many connections may be held.
const POOL_SIZES: std::ops::RangeInclusive<usize> = 5..=100;
/// How many of them are for one purpose each: writing, reading whole tables, hearing of removals.
const SINGLE_CONNECTIONS: usize = 3;

const ENCODING: &str = "SELECT current_setting('server_encoding')";
/// It is a standby, or its settings say so.
const IS_READ_ONLY: &str = "SELECT current_setting('transaction_read_only')::boolean";

/// Storage in a PostgreSQL database.
///
/// # Bounds
///
/// 1024 calls that look up and 1024 calls that write may wait; further ones wait to be let in. Of calls that write more
/// than 256 KiB of text, 64 MiB may wait, and others are served between them. A call ends within a
/// limit that is measured from the call, whatever it waits for (its turn, a connection, another attempt, the lock of
/// other servers, the statement): 24 seconds for a write, 20 for a look-up, for rows and for a change of an account, 300
/// for a search through a whole table. It fails with [`StorageError::Timeout`] then, or earlier: while the database is
/// away, calls are tried again for 10 seconds, and the lock of other servers is waited for 20 at most.
///
/// The database gives up what its caller has given up. It has a deadline for each transaction that writes, which lies
/// before that of the caller, and commits nothing after it, even if it stood still meanwhile.
///
/// # Long work
///
/// [`remove`](Storage::remove), [`clean_unused`](Storage::clean_unused), [`sweep`](Storage::sweep) and
/// [`mark`](Storage::mark) are done in chunks of 2,000 rows, each a transaction with the limit of a write, with other
/// writes in between. Those that remove go on when their
/// caller has gone. [`close`](Storage::close) stops them after the chunk at hand: what they removed stays
/// removed, and a sweep that was stopped can be repeated, as its mark is still current.
///
/// # Other servers
///
/// Removals by other servers of this kind are told by [`foreign_removals`](Storage::foreign_removals) at
/// once. Those by others are not announced; they are noticed in the statistics of the table, mostly within
/// 2 seconds; a unihash that somebody changes in place is not noticed. Where announcements cannot be had (hot
/// standbys, transaction poolers), a removal is told every 150 ms.
///
/// Dropping the storage without [`close`](Storage::close) loses nothing that was acknowledged.
pub struct PostgresStorage {
    server: Arc<Server>,
    lookups: Lookups,
    reads: Arc<Reads>,
    /// Absent where the database was opened only to be read.
    bulk: Option<Bulk>,
    removals: watch::Receiver<u64>,
    closing: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl PostgresStorage {
    /// Opens a database by its URL; tables that do not exist are created, old ones upgraded. One that is opened
    /// read-only is left as it is if it has its tables.
    ///
    /// What the URL does not tell is taken from `PG*` in the environment. Its parameters are those of
    /// PostgreSQL's own clients as far as sqlx has them, `sslmode` and `sslrootcert` among them; others are refused,
    /// but for some of asyncpg and psycopg that change nothing here. Behind a
    /// transaction pooler `statement-cache-capacity=0` is needed.
    ///
    /// # Errors
    ///
    /// [`StorageError::WrongSetting`] for a URL that is wrong in itself; [`StorageError::Open`] where opening fails,
    /// after the time that the options give an unreachable server.
    ///
    /// # Cancellation
    ///
    /// May be dropped at any time: what was created or upgraded by then is complete in itself.
    pub async fn open(url: &str, options: &Options) -> Result<Self, StorageError> {
        let name: DatabaseName = url.parse().map_err(|source: crate::name::InvalidDatabaseName| {
            StorageError::WrongSetting { what: "of that name".to_owned(), source: source.into() }
        })?;
        let Place::Postgres(url) = name.place() else {
            let source = "it is not one of PostgreSQL".into();
            return Err(StorageError::WrongSetting { what: name.to_string(), source });
        };
        let server = Arc::new(Server::new(url, options)?);
        let mut connection = server.connect_at_start(options.connect_timeout).await?;
        prepare(&server, &mut connection, options.read_only).await?;
        let _ = connection.close().await;
        Ok(Self::start(server, options))
    }

    fn start(server: Arc<Server>, options: &Options) -> Self {
        let shared = options.pool_size.clamp(*POOL_SIZES.start(), *POOL_SIZES.end()) - SINGLE_CONNECTIONS;
        let closing = watch::Sender::new(false);
        let links = (0..shared.div_ceil(2)).map(|_| Link::new(&server, Session::Keys)).collect();
        let (lookups, mut tasks) = Lookups::start(links, &Closing::of(&closing));
        let reads = Arc::new(Reads::new(&server, shared / 2));
        let origin = Arc::new(Origin::new());
        let told = watch::Sender::new(0);
        let removals = told.subscribe();
        let following =
            removals::follow(Arc::clone(&server), Arc::clone(&origin), told, Closing::of(&closing));
        tasks.push(tokio::spawn(following));
        let bulk = (!options.read_only).then(|| {
            let (writer, task) = Writer::start(Link::new(&server, Session::Keys), Closing::of(&closing));
            tasks.push(task);
            tasks.push(tokio::spawn(indexes::create(Arc::clone(&server), Closing::of(&closing))));
            Bulk { reads: Arc::clone(&reads), writer, origin }
        });
        PostgresStorage { server, lookups, reads, bulk, removals, closing, tasks: Mutex::new(tasks) }
    }

    fn bulk(&self) -> Result<&Bulk, StorageError> {
        self.bulk.as_ref().ok_or(StorageError::ReadOnly)
    }

    /// The connections through which accounts are changed.
    fn accounts(&self) -> Result<&Links, StorageError> {
        self.bulk().map(|_| self.reads.rows())
    }

    async fn record(
        &self,
        records: Result<Records, serde_json::Error>,
    ) -> Result<Vec<Unihash>, StorageError> {
        self.bulk()?.writer.record(records.map_err(StorageError::backend)?).await
    }
}

/// Makes a database ready; one that is opened read-only is changed only where it could not be served else.
async fn prepare(
    server: &Server,
    connection: &mut PgConnection,
    read_only: bool,
) -> Result<(), StorageError> {
    let pooled = server.is_pooled();
    let encoding: String = setting(connection, ENCODING, pooled).await.map_err(|e| server.open_error(e))?;
    if encoding != "UTF8" {
        return Err(server.unfit(format!(
            "its encoding is {encoding}, which cannot hold every name: create one with ENCODING 'UTF8'"
        )));
    }
    let missing = schema::missing_tables(connection, pooled).await.map_err(|e| server.open_error(e))?;
    if read_only && missing.is_empty() {
        return Ok(());
    }
    let takes_no_writes =
        setting(connection, IS_READ_ONLY, pooled).await.map_err(|e| server.open_error(e))?;
    match (takes_no_writes, missing.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(server.unfit(format!(
            "it has no table {}, and takes no writes (a standby, or default_transaction_read_only): \
             let a server open it once where it can be written",
            missing.join(", ")
        ))),
        (false, _) => create(server, connection, &missing).await,
    }
}

async fn create(
    server: &Server,
    connection: &mut PgConnection,
    missing: &[String],
) -> Result<(), StorageError> {
    let created = schema::create_or_upgrade(connection, server.is_pooled()).await;
    created.map_err(|error| match error::is_of_rights(&error) && !missing.is_empty() {
        true => server.unfit(format!(
            "it has no table {}, and the user may not create them ({}): \
             let a server open it once as a user who may",
            missing.join(", "),
            server::Plain(error)
        )),
        false => server.open_error(error),
    })
}

/// Returns the value of a setting of the database.
async fn setting<T>(connection: &mut PgConnection, sql: &'static str, pooled: bool) -> Result<T, sqlx::Error>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let rows = fetch_all_at_start(connection, sql, PgArguments::default(), pooled).await?;
    rows.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)
}

impl fmt::Debug for PostgresStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").field("server", &self.server).finish_non_exhaustive()
    }
}

#[async_trait]
impl Storage for PostgresStorage {
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
        self.record(records).await
    }

    async fn record_unihashes(&self, entries: Vec<UnihashEntry>) -> Result<Vec<Unihash>, StorageError> {
        self.record(Records::of_entries(&entries)).await
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
        accounts::create(self.accounts()?, &user).await
    }

    async fn put_user(&self, user: NewUser) -> Result<(), StorageError> {
        accounts::put(self.accounts()?, &user).await
    }

    async fn set_permissions(&self, id: i64, permissions: &str) -> Result<bool, StorageError> {
        accounts::set_permissions(self.accounts()?, id, permissions).await
    }

    async fn set_token(&self, id: i64, token_hash: &str) -> Result<bool, StorageError> {
        accounts::set_token(self.accounts()?, id, token_hash).await
    }

    async fn delete_user(&self, id: i64) -> Result<bool, StorageError> {
        accounts::delete(self.accounts()?, id).await
    }

    fn foreign_removals(&self) -> watch::Receiver<u64> {
        self.removals.clone()
    }

    async fn close(&self) {
        self.closing.send_replace(true);
        let mut tasks = self.tasks.lock().await;
        while let Some(task) = tasks.last_mut() {
            let _ = task.await;
            tasks.pop();
        }
        self.reads.close().await;
    }
}
