//! Noticing what other servers on the database removed.
//!
//! Ours tell it with `NOTIFY` in the transaction that removes, on a channel named after the table. While that
//! cannot be heard (the connection is lost, a hot standby, a transaction pooler), a removal is assumed all
//! the time. Nothing else notifies, BitBake's own server for one; its removals show in the statistics of the
//! table, which it writes a second or so later. A unihash that somebody changes in place is not noticed.
//!
//! The statistics count our own removals, too. What is forgotten for them once more costs some look-ups.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::error::timed_out;
use super::server::Server;
use crate::closing::Closing;

/// How often a removal is assumed while none could be heard of.
const DEAF_INTERVAL: Duration = Duration::from_millis(150);
/// How often the statistics are looked at, which tries the connection too, and how long that may take.
const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait for a connection on which to listen.
const LISTEN_LIMIT: Duration = Duration::from_secs(15);
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// The table's number makes the channel that of the schema, of which a database may have several.
const CHANNEL: &str = "SELECT 'hashserv_' || 'unihashes_v3'::regclass::oid";

/// A number that changes with every removal by others.
type Removals = watch::Sender<u64>;

/// How many rows of the table anybody has removed (another number after a crash, or after a reset), and the file in
/// which it is, which is another one after a `TRUNCATE`.
const STATE: &str = "\
    SELECT pg_stat_get_tuples_deleted('unihashes_v3'::regclass), pg_relation_filenode('unihashes_v3'::regclass)::bigint";

/// What [`STATE`] tells.
type State = (Option<i64>, Option<i64>);

/// Name of a storage in notifications, by which it knows its own.
#[derive(Debug)]
pub(crate) struct Origin(Mutex<String>);

impl Origin {
    pub(crate) fn new() -> Self {
        Origin(Mutex::new(random_name()))
    }

    pub(crate) fn name(&self) -> String {
        self.lock().clone()
    }

    /// Takes another name: what is announced under the old one from now on counts as removed by others.
    pub(crate) fn change(&self) {
        *self.lock() = random_name();
    }

    fn is(&self, name: &str) -> bool {
        *self.lock() == name
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn random_name() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

/// Follows what others remove until `closing` turns true.
pub(crate) async fn follow(
    server: Arc<Server>,
    origin: Arc<Origin>,
    removals: Removals,
    mut closing: Closing,
) {
    let following = async {
        loop {
            let (listener, known) = meanwhile_assuming(&removals, listen(&server)).await;
            assume_removal(&removals);
            let lost = hear(listener, known, &origin, &removals).await;
            assume_removal(&removals);
            tracing::info!(reason = %lost, "removals by other servers cannot be heard of, connecting anew");
        }
    };
    tokio::select! {
        () = following => {}
        () = closing.begun() => {}
    }
}

/// Assumes removals all the time until `work` is done.
async fn meanwhile_assuming<T>(removals: &Removals, work: impl Future<Output = T>) -> T {
    let mut ticks = interval(DEAF_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut work = pin!(work);
    loop {
        tokio::select! {
            output = &mut work => return output,
            _ = ticks.tick() => assume_removal(removals),
        }
    }
}

/// Begins to listen, as soon as that is possible, and tells the state of the table then. Behind a transaction pooler it never is, though it seems so.
async fn listen(server: &Server) -> (PgListener, State) {
    if server.is_pooled() {
        std::future::pending::<()>().await;
    }
    loop {
        let listening = timeout(LISTEN_LIMIT, listen_once(server)).await;
        match listening.unwrap_or_else(|_| Err(timed_out())) {
            Ok(listening) => return listening,
            Err(error) => tracing::debug!(%error, "cannot listen for removals"),
        }
        sleep(RECONNECT_PAUSE).await;
    }
}

async fn listen_once(server: &Server) -> Result<(PgListener, State), sqlx::Error> {
    let mut listener = server.listener().await?;
    let channel: String = sqlx::query_scalar(CHANNEL).fetch_one(&mut listener).await?;
    listener.listen(&channel).await?;
    let known = state(&mut listener).await?;
    Ok((listener, known))
}

/// Hears of removals until that fails; tells why it did.
async fn hear(mut listener: PgListener, mut known: State, origin: &Origin, removals: &Removals) -> String {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            heard = listener.try_recv() => match heard {
                Ok(Some(notification)) if origin.is(notification.payload()) => {}
                Ok(Some(_)) => assume_removal(removals),
                Ok(None) => return "the connection was lost".to_owned(),
                Err(error) => return error.to_string(),
            },
            _ = heartbeat.tick() => match timeout(HEARTBEAT_LIMIT, state(&mut listener)).await {
                Ok(Ok(state)) => {
                    if std::mem::replace(&mut known, state) != state {
                        assume_removal(removals);
                    }
                }
                Ok(Err(error)) => return error.to_string(),
                Err(_) => return "no answer".to_owned(),
            },
        }
    }
}

async fn state(listener: &mut PgListener) -> Result<State, sqlx::Error> {
    sqlx::query_as(STATE).fetch_one(listener).await
}

fn assume_removal(removals: &Removals) {
    removals.send_modify(|number| *number = number.wrapping_add(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcement_under_an_old_name_is_of_another() {
        let origin = Origin::new();
        let old = origin.name();
        assert!(origin.is(&old));
        origin.change();
        assert!(!origin.is(&old) && origin.is(&origin.name()));
    }
}
