//! Noticing that another process wrote.

use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::place::Place;
use crate::closing::Closing;

/// How often the file is looked at.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Watches for commits that did not come through one connection.
///
/// SQLite does not tell what they changed, so each counts as a removal.
#[derive(Debug)]
pub(crate) struct ForeignCommits {
    version: i64,
    checked: Instant,
    noticed: watch::Sender<u64>,
}

impl ForeignCommits {
    /// Begins to watch; what was committed before is not noticed.
    pub(crate) async fn begin(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let version = data_version(connection).await?;
        Ok(ForeignCommits { version, checked: Instant::now(), noticed: watch::Sender::new(0) })
    }

    /// A number that changes with every commit that is noticed.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.noticed.subscribe()
    }

    /// Looks, unless that was done less than [`POLL_INTERVAL`] ago.
    pub(crate) async fn check_if_due(&mut self, connection: &mut SqliteConnection) {
        if self.checked.elapsed() >= POLL_INTERVAL {
            self.check(connection).await;
        }
    }

    /// Looks; `connection` is always the same.
    pub(crate) async fn check(&mut self, connection: &mut SqliteConnection) {
        match data_version(connection).await {
            Ok(version) if version == self.version => {}
            Ok(version) => {
                self.version = version;
                self.notify();
            }
            Err(error) => {
                // Whatever happened is not known, so the worst is assumed.
                tracing::debug!(%error, "asking the database for foreign changes failed");
                self.notify();
            }
        }
        self.checked = Instant::now();
    }

    fn notify(&self) {
        self.noticed.send_modify(|number| *number = number.wrapping_add(1));
    }
}

/// Looks at the file through a connection that does nothing else, until `closing` turns true; gives back what may be
/// closed.
pub(crate) async fn watch_alone(
    mut connection: SqliteConnection,
    mut commits: ForeignCommits,
    mut place: Place,
    mut closing: Closing,
) -> Option<SqliteConnection> {
    let mut ticks = poll_ticks();
    loop {
        tokio::select! {
            _ = closing.begun() => return place.leave(connection),
            _ = ticks.tick() => {
                commits.check(&mut connection).await;
                // Whoever uses the storage hears of it if the file is lost.
                let _ = place.look_if_due(&mut connection).await;
            }
        }
    }
}

/// Ticks at [`POLL_INTERVAL`], and no faster after a delay.
pub(crate) fn poll_ticks() -> tokio::time::Interval {
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn data_version(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(connection).await
}
