//! Keeping what the upstream knew, in the background.

use std::sync::Arc;
use std::time::Duration;

use hashserv_log::CapturedLog;
use hashserv_service::{Service, ServiceOptions};
use hashserv_storage::TaskKey;
use hashserv_storage::hindered::Hindered;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tracing::Level;

use crate::hindered::{Writes, hindered};
use crate::scripted::{Answer, Scripted};
use crate::support::{GENEROUS_TIMEOUT, Running, hash, unihash, until};

/// A service over a database that lets no write through yet, and an upstream that knows everything.
async fn hindered_service() -> (Service, Arc<Hindered<Writes>>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let storage = hindered(directory.path()).await;
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let service = Service::new(storage.clone(), Some(upstream), &ServiceOptions::default());
    (service, storage, directory)
}

/// Looks the tasks of these numbers up.
async fn look_up(service: &Service, numbers: impl IntoIterator<Item = usize>) {
    let taskhashes: Vec<String> = numbers.into_iter().map(hash).collect();
    let keys: Vec<TaskKey<'_>> =
        taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    let found = service.equivalence().unihashes(&keys).await.unwrap();
    assert!(found.iter().all(|found| *found == Some(unihash(5))));
}

#[tokio::test]
async fn too_much_to_keep_is_told_once_until_half_is_written() {
    let log = CapturedLog::start();
    let (service, storage, _directory) = hindered_service().await;
    let pending = || service.equivalence().pending_backfill();
    for thousand in 0..100 {
        look_up(&service, 1000 * thousand..1000 * (thousand + 1)).await;
    }
    assert_eq!((pending(), log.lines(Level::WARN).len()), (100_000, 0));
    storage.hindrance().let_through(5);
    until("some are written", async || pending() < 99_000).await;
    for _ in 0..3 {
        look_up(&service, 100_000..110_000).await;
        look_up(&service, []).await;
        look_up(&service, [0]).await;
    }
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].ends_with("further ones are not kept"), "{warnings:?}");
    let again = "unihashes from the upstream are kept again".to_owned();
    assert!(!log.lines(Level::INFO).contains(&again));
    storage.hindrance().let_through(1000);
    service.equivalence().wait_for_backfill().await;
    look_up(&service, [100_000]).await;
    assert!(log.lines(Level::INFO).contains(&again));
}

#[tokio::test]
async fn what_cannot_be_written_is_given_up_and_told() {
    let log = CapturedLog::start();
    let (service, storage, _directory) = hindered_service().await;
    storage.hindrance().fill_up();
    storage.hindrance().let_through(1000);
    look_up(&service, 0..10).await;
    service.equivalence().wait_for_backfill().await;
    assert_eq!(service.equivalence().pending_backfill(), 0);
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("no space left"), "{warnings:?}");
}

#[tokio::test]
async fn a_service_that_ends_gives_up_what_takes_too_long_to_write() {
    let log = CapturedLog::start();
    let (service, _storage, _directory) = hindered_service().await;
    look_up(&service, 0..10).await;
    // Long enough for the database to be closed in the quarter that is left for it.
    tokio::time::timeout(GENEROUS_TIMEOUT, service.close(Duration::from_secs(2))).await.expect("it ends");
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].starts_with("10 unihashes"), "{warnings:?}");
}

#[tokio::test]
async fn who_waits_for_the_writes_is_told_how_many_there_were() {
    let (service, storage, directory) = hindered_service().await;
    look_up(&service, 0..10).await;
    let server = Running::serve("127.0.0.1:0", service, directory).await;
    let mut socket = BufReader::new(TcpStream::connect(server.address.to_string()).await.unwrap());
    socket.write_all(b"OEHASHEQUIV 1.1\n\n{\"ping\": null}\n{\"backfill-wait\": null}\n").await.unwrap();
    let mut line = String::new();
    socket.read_line(&mut line).await.unwrap();
    assert!(line.contains("alive"), "{line}");
    storage.hindrance().let_through(1000);
    line.clear();
    socket.read_line(&mut line).await.unwrap();
    assert_eq!(line.split_whitespace().collect::<String>(), "{\"tasks\":10}");
}
