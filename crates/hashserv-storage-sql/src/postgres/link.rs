//! Connections that are made when they are needed, and made anew when they break.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Connection as _, SqlSafeStr, SqlStr};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use super::error::{Failure, timed_out};
use super::server::{Server, Session};
use super::{statement, transaction};

/// After how long without use a connection is tried before it is used.
const IDLE: Duration = Duration::from_secs(5);
/// How long that trial may take.
const PING_LIMIT: Duration = Duration::from_secs(5);

/// One connection to the database, or the means to get one.
#[derive(Debug)]
pub(crate) struct Link {
    server: Arc<Server>,
    session: Session,
    connection: Option<PgConnection>,
    used: Instant,
}

impl Link {
    pub(crate) fn new(server: &Arc<Server>, session: Session) -> Self {
        Link { server: Arc::clone(server), session, connection: None, used: Instant::now() }
    }

    /// Runs a statement with arguments until a deadline; returns its rows.
    pub(crate) async fn fetch_all(
        &mut self,
        sql: impl SqlSafeStr,
        arguments: PgArguments,
        until: Instant,
    ) -> Result<Vec<PgRow>, Failure> {
        let pooled = self.server.is_pooled();
        let called = Instant::now();
        let connection = self.ready_until(until).await?;
        let limit = until.saturating_duration_since(Instant::now());
        let fetching = statement::fetch_all(connection, sql, arguments, pooled, limit);
        let fetched = timeout_at(until, fetching).await;
        self.after(match fetched {
            Ok(rows) => rows.map_err(Failure::from),
            Err(_) => Err(Failure::no_answer(called.elapsed())),
        })
    }

    /// Runs a program in a transaction, which the database commits before a deadline or not at all.
    pub(crate) async fn transact(
        &mut self,
        program: SqlStr,
        input: &str,
        until: Instant,
    ) -> Result<String, Failure> {
        let connection = self.ready_until(until).await?;
        let result = transaction::run(connection, program, input, until).await;
        self.after(result)
    }

    async fn ready_until(&mut self, until: Instant) -> Result<&mut PgConnection, Failure> {
        let ready = timeout_at(until, self.ready()).await;
        ready.unwrap_or_else(|_| Err(Failure::before_work(timed_out())))
    }

    /// A connection that works as far as is known.
    async fn ready(&mut self) -> Result<&mut PgConnection, Failure> {
        let mut connection = self.connection.take();
        if self.used.elapsed() > IDLE
            && let Some(idle) = &mut connection
            && !matches!(timeout(PING_LIMIT, idle.ping()).await, Ok(Ok(())))
        {
            connection = None;
        }
        let connection = match connection {
            Some(connection) => connection,
            None => self.server.connect(self.session).await?,
        };
        self.used = Instant::now();
        Ok(self.connection.insert(connection))
    }

    /// Takes note of what became of a use.
    ///
    /// Every use must end here: a connection that has not given its answer would give it to the next one.
    fn after<T>(&mut self, result: Result<T, Failure>) -> Result<T, Failure> {
        self.used = Instant::now();
        if let Err(failure) = &result
            && failure.breaks_connection()
        {
            self.connection = None;
        }
        result
    }

    /// Takes leave of the database.
    pub(crate) async fn close(self) {
        let Some(connection) = self.connection else { return };
        if let Ok(Err(error)) = timeout(PING_LIMIT, connection.close()).await {
            tracing::debug!(%error, "closing a connection to the database failed");
        }
    }
}

/// Some links for whoever needs one.
#[derive(Debug)]
pub(crate) struct Links {
    server: Arc<Server>,
    session: Session,
    free: Semaphore,
    idle: Mutex<Vec<Link>>,
}

/// A link in use. One that is not [given back](Lease::give_back) is closed, as its state is not known.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    links: &'a Links,
    link: Link,
    _permit: SemaphorePermit<'a>,
}

impl Links {
    /// So many links.
    pub(crate) fn new(server: &Arc<Server>, session: Session, count: usize) -> Self {
        let (free, idle) = (Semaphore::new(count), Mutex::default());
        Links { server: Arc::clone(server), session, free, idle }
    }

    /// Returns a link; where all are in use, waits for one until a deadline.
    pub(crate) async fn take(&self, until: Instant) -> Result<Lease<'_>, Failure> {
        let called = Instant::now();
        let permit = timeout_at(until, self.free.acquire()).await;
        let permit =
            permit.map_err(|_| Failure::all_in_use(called.elapsed()))?.map_err(|_| Failure::closed())?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let link = idle.unwrap_or_else(|| Link::new(&self.server, self.session));
        Ok(Lease { links: self, link, _permit: permit })
    }

    /// Lets nobody have a link any more, and closes those that are idle.
    pub(crate) async fn close(&self) {
        self.free.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for link in idle {
            link.close().await;
        }
    }
}

impl Lease<'_> {
    pub(crate) fn link(&mut self) -> &mut Link {
        &mut self.link
    }

    pub(crate) fn give_back(self) {
        // Once closed nobody would take it again.
        if !self.links.free.is_closed() {
            self.links.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.link);
        }
    }
}
