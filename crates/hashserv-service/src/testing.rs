//! A database that is slow when a test wants it so.

use std::sync::Arc;
use std::time::Duration;

use hashserv_storage::StorageError;
use hashserv_storage::hindered::{Hindered, Hindrance, Kind};
use hashserv_storage_sql::{DatabaseName, Options, open};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Far longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A database whose removals, changes of accounts and closing end only once they are let through.
pub(crate) type SlowStorage = Hindered<Gate>;

/// Holds up what it is told to.
#[derive(Debug)]
pub(crate) struct Gate {
    is_open: watch::Sender<bool>,
    held: Notify,
    /// Where the database is, which is gone with the gate.
    _directory: TempDir,
}

impl Gate {
    /// Lets nothing through from now on.
    pub(crate) fn hold(&self) {
        self.is_open.send_replace(false);
    }

    /// Lets everything through.
    pub(crate) fn let_go(&self) {
        self.is_open.send_replace(true);
    }
}

impl Hindrance for Gate {
    async fn pass(&self, kind: Kind) -> Result<(), StorageError> {
        if matches!(kind, Kind::Write | Kind::Read) {
            return Ok(());
        }
        let mut is_open = self.is_open.subscribe();
        if !*is_open.borrow() {
            self.held.notify_one();
        }
        is_open.wait_for(|is_open| *is_open).await.unwrap();
        Ok(())
    }
}

/// An empty database that lets everything through.
pub(crate) async fn slow_storage() -> Arc<SlowStorage> {
    let directory = tempfile::tempdir().unwrap();
    let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
    let storage = open(&name, &Options::default()).await.unwrap();
    let gate = Gate { is_open: watch::Sender::new(true), held: Notify::new(), _directory: directory };
    Arc::new(Hindered::new(storage, gate))
}

/// Runs a call until the database is at it, and gives it up.
pub(crate) async fn begin_and_drop<T>(storage: &SlowStorage, call: impl Future<Output = T>) {
    tokio::select! {
        _ = call => panic!("it did not wait"),
        () = storage.hindrance().held.notified() => {}
    }
}

/// Asks again and again until it is true.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !check().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(PATIENCE, asking).await.is_ok(), "waited in vain: {what}");
}
