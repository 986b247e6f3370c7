//! Connections that are made when they are needed, and made anew when they break.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Connection as _, SqlSafeStr};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::error::Failure;
use super::server::{Server, Session};
use super::statement;

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

    /// Runs a statement with arguments; gives its rows.
    pub(crate) async fn fetch_all(
        &mut self,
        sql: impl SqlSafeStr,
        arguments: PgArguments,
        limit: Duration,
    ) -> Result<Vec<PgRow>, Failure> {
        let pooled = self.server.is_pooled();
        let connection = self.ready().await?;
        let result = timeout(limit, statement::fetch_all(connection, sql, arguments, pooled)).await;
        self.after(result, limit)
    }

    /// A connection that works as far as is known.
    pub(crate) async fn ready(&mut self) -> Result<&mut PgConnection, Failure> {
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

    /// Takes note of what became of a use, waiting for which took `limit` at most.
    ///
    /// Every use must end here: a connection that has not given its answer would give it to the next one.
    pub(crate) fn after<T, E: Into<Failure>>(
        &mut self,
        result: Result<Result<T, E>, tokio::time::error::Elapsed>,
        limit: Duration,
    ) -> Result<T, Failure> {
        let result = match result {
            Ok(result) => result.map_err(E::into),
            Err(_) => Err(Failure::no_answer(limit)),
        };
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
    limit: Duration,
}

/// A link in use. One that is not [given back](Lease::give_back) is closed, as its state is not known.
#[derive(Debug)]
pub(crate) struct Lease<'a> {
    links: &'a Links,
    link: Link,
    _permit: SemaphorePermit<'a>,
}

impl Links {
    /// So many links; who wants one when all are in use waits up to `limit`.
    pub(crate) fn new(server: &Arc<Server>, session: Session, count: usize, limit: Duration) -> Self {
        let (free, idle) = (Semaphore::new(count), Mutex::default());
        Links { server: Arc::clone(server), session, free, idle, limit }
    }

    pub(crate) async fn take(&self) -> Result<Lease<'_>, Failure> {
        let permit = timeout(self.limit, self.free.acquire()).await;
        let permit = permit.map_err(|_| Failure::all_in_use(self.limit))?.map_err(|_| Failure::closed())?;
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
