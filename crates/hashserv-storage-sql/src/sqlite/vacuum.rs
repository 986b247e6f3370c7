//! Giving free pages of the file back to the disk.
//!
//! Pages that removals leave free are used again by later reports. Only where they are many, they are given back, a
//! few at a time: each step is a short transaction between others.

use std::time::Duration;

use sqlx::Executor as _;
use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

/// Free pages that are always kept, for reports to come.
const KEPT_PAGES: i64 = 1024;
/// Share of the pages that may be free: one of so many.
const KEPT_SHARE: i64 = 10;
/// Time between two steps.
const STEP_INTERVAL: Duration = Duration::from_millis(100);
/// Time after a step that another process kept from the file.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// A step of 64 pages.
const STEP: &str = "PRAGMA incremental_vacuum(64)";
/// The value of `auto_vacuum` with which pages are given back on demand.
const INCREMENTAL: i64 = 2;

/// Gives free pages back.
#[derive(Debug)]
pub(crate) struct Vacuum {
    /// When to look for free pages; `None` while there is no reason to.
    due: Option<Instant>,
    is_possible: bool,
}

impl Vacuum {
    /// Looks up whether the file can give pages back, which is decided when it is created.
    pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let mode: i64 = sqlx::query_scalar("PRAGMA auto_vacuum").fetch_one(connection).await?;
        Ok(Vacuum { due: Some(Instant::now()), is_possible: mode == INCREMENTAL })
    }

    /// Notes that rows were removed.
    pub(crate) fn rows_were_removed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + STEP_INTERVAL);
    }

    /// Returns true if a step is due.
    pub(crate) fn is_due(&self) -> bool {
        self.is_possible && self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Gives some pages back, if many are free.
    pub(crate) async fn step(&mut self, connection: &mut SqliteConnection) {
        self.due = match give_back(connection).await {
            Ok(true) => Some(Instant::now() + STEP_INTERVAL),
            Ok(false) => None,
            Err(error) => {
                tracing::debug!(%error, "giving free pages back failed");
                Some(Instant::now() + RETRY_INTERVAL)
            }
        };
    }
}

/// Returns true if there was something to give back.
async fn give_back(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *connection).await?;
    if free <= KEPT_PAGES {
        return Ok(false);
    }
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *connection).await?;
    if free <= pages / KEPT_SHARE {
        return Ok(false);
    }
    connection.execute(STEP).await?;
    Ok(true)
}
