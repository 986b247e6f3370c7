//! Databases that go away and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use hashserv_storage::{Storage as _, StorageError};
use hashserv_storage_sql::{Options, PostgresStorage};
use hashserv_test_postgres::{Cluster, Durability, Setup};
use tokio::time::timeout;

use super::support::{database_or_skip, open, report_one, small, task, try_open, unihash};

const PATIENCE: Duration = Duration::from_secs(120);

/// Clients that report and look up until they are told to stop.
struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: tokio::task::JoinSet<Vec<(String, u64)>>,
}

impl Clients {
    fn start(storage: &Arc<PostgresStorage>) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for client in 0..8 {
            let (storage, stop, done) = (Arc::clone(storage), Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    let name = format!("t{client}-{number}");
                    report_one(&*storage, &name, number).await.expect("it is recorded");
                    let found = storage.unihashes(&[task(&name)]).await.expect("it is looked up");
                    assert_eq!(found, [Some(unihash(number))]);
                    acknowledged.push((name, number));
                }
                acknowledged
            });
        }
        Clients { stop, done, tasks }
    }

    /// Waits until so many more reports have begun.
    async fn progress(&self, more: u64) {
        let until = self.done.load(Ordering::Relaxed) + more;
        let progress = async {
            while self.done.load(Ordering::Relaxed) < until {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, progress).await.expect("clients go on");
    }

    async fn finish(self) -> Vec<(String, u64)> {
        self.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await.concat()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_and_crashes_are_survived_without_an_error_or_a_loss() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start(&Setup { durability: Durability::Full, ..Setup::default() });
    let storage = open(&cluster.url("postgres")).await;
    let clients = Clients::start(&storage);
    clients.progress(50).await;
    cluster.stop();
    cluster.run();
    clients.progress(50).await;
    cluster.kill();
    cluster.run();
    clients.progress(50).await;
    let acknowledged = clients.finish().await;
    assert!(acknowledged.len() > 100);
    for (name, number) in &acknowledged {
        assert_eq!(storage.unihashes(&[task(name)]).await.unwrap(), [Some(unihash(*number))]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_are_cut_are_made_anew() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    let clients = Clients::start(&storage);
    for _ in 0..5 {
        clients.progress(20).await;
        database.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
    clients.progress(20).await;
    clients.finish().await;
}

/// Calls wait for a connection, and the storage makes do with fewer than it may have.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_free_connections_is_waited_for() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let settings = vec!["max_connections = 6".to_owned(), "superuser_reserved_connections = 0".to_owned()];
    let cluster = Cluster::start(&Setup { settings, ..Setup::default() });
    let url = cluster.url("postgres");
    let storage = open(&url).await;
    report_one(&*storage, "t", 1).await.unwrap();
    storage.close().await;
    let hogs = join_all((0..6).map(|_| hog(&url))).await;
    let opening = tokio::spawn({
        let url = url.clone();
        async move { open(&url).await }
    });
    let refused = try_open(&url, &Options { connect_timeout: Duration::from_millis(300), ..small() }).await;
    assert!(matches!(refused, Err(StorageError::Open { .. })), "{refused:?}");
    drop(hogs);
    let storage = timeout(PATIENCE, opening).await.expect("it opens at last").unwrap();
    report_one(&*storage, "t2", 2).await.unwrap();
}

/// Takes a connection.
async fn hog(url: &str) -> sqlx::PgConnection {
    use sqlx::ConnectOptions as _;
    let options: sqlx::postgres::PgConnectOptions = url.parse().expect("a URL");
    options.connect().await.expect("a connection is free")
}

#[tokio::test]
async fn an_unreachable_server_is_named_without_its_password() {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgresql://user:secret@127.0.0.1:{port}/db");
    let options = Options { connect_timeout: Duration::from_millis(600), ..small() };
    let error = try_open(&url, &options).await.unwrap_err();
    let StorageError::Open { what, source } = &error else { panic!("{error:?}") };
    assert_eq!(*what, format!("postgresql://user:***@127.0.0.1:{port}/db"));
    assert!(!format!("{error:?} {source}").contains("secret"));
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_an_error_at_once() {
    let database = database_or_skip!();
    let url = database.url().replace(database.name(), "no_such_database");
    let error = try_open(&url, &Options { connect_timeout: PATIENCE, ..small() }).await.unwrap_err();
    let StorageError::Open { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("no_such_database"), "{source}");
}

#[tokio::test]
async fn when_the_database_stays_away_calls_fail_in_time() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let cluster = Cluster::start(&Setup::default());
    let storage = open(&cluster.url("postgres")).await;
    report_one(&*storage, "t", 1).await.unwrap();
    cluster.stop();
    // They are looked up part after part, and must not wait for the database one after the other.
    let keys = [task("t"); 1024];
    let reading = join_all((0..20).map(|_| storage.unihashes(&keys)));
    let writing = storage.report(vec![super::support::report("u", "u", 2)]);
    let ended = timeout(PATIENCE, async { tokio::join!(reading, writing) });
    let (reads, written) = ended.await.expect("all calls end");
    for read in reads {
        assert!(matches!(read, Err(StorageError::Timeout(_))), "{read:?}");
    }
    assert!(matches!(written, Err(StorageError::Timeout(_))), "{written:?}");
    cluster.run();
    report_one(&*storage, "u", 2).await.unwrap();
}
