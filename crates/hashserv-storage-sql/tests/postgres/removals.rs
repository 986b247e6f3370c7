//! Noticing what others remove.

use std::time::Duration;

use hashserv_storage::{Column, Storage as _};
use hashserv_test_postgres::Database;
use tokio::sync::watch;
use tokio::time::timeout;

use super::support::{database_or_skip, open, report_one};

/// Far more than it takes: a slow machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(60);

async fn expect_change(removals: &mut watch::Receiver<u64>) {
    timeout(PATIENCE, removals.changed())
        .await
        .expect("the removal is noticed")
        .expect("the storage is open");
}

/// Waits until removals are heard of, which is when they are no longer assumed all the time.
async fn quiet(removals: &mut watch::Receiver<u64>) {
    let quiet = async { while timeout(Duration::from_secs(3), removals.changed()).await.is_ok() {} };
    timeout(PATIENCE, quiet).await.expect("removals are heard of");
}

/// Makes the statistics silent, by which a removal is noticed that is not announced.
fn without_statistics(database: &Database) {
    database.run(&format!("ALTER DATABASE {} SET track_counts = off", database.name()));
}

/// Announcements come in the order of their commits.
#[tokio::test]
async fn only_removals_by_others_are_told() {
    let database = database_or_skip!();
    without_statistics(&database);
    let (one, other) = (open(database.url()).await, open(database.url()).await);
    let (mut of_one, mut of_other) = (one.foreign_removals(), other.foreign_removals());
    quiet(&mut of_one).await;
    quiet(&mut of_other).await;
    let before = *of_one.borrow_and_update();
    for (name, number) in [("t1", 1), ("t2", 2)] {
        report_one(&*one, name, number).await.unwrap();
        one.remove(&[(Column::Taskhash, name.to_owned())].into_iter().collect()).await.unwrap();
    }
    expect_change(&mut of_other).await;
    assert_eq!(*of_one.borrow(), before);
    report_one(&*other, "t3", 3).await.unwrap();
    other.remove(&[(Column::Taskhash, "t3".to_owned())].into_iter().collect()).await.unwrap();
    expect_change(&mut of_one).await;
    assert_eq!(*of_one.borrow(), before + 1, "its own removals are not told");
}

/// As BitBake's own server does it.
#[tokio::test]
async fn removals_that_nobody_tells_of_are_noticed() {
    let database = database_or_skip!();
    let storage = open(database.url()).await;
    report_one(&*storage, "t", 1).await.unwrap();
    let mut removals = storage.foreign_removals();
    for removal in ["DELETE FROM unihashes_v3", "TRUNCATE unihashes_v3"] {
        quiet(&mut removals).await;
        database.run(removal);
        expect_change(&mut removals).await;
    }
}

#[tokio::test]
async fn behind_a_pooler_removals_are_assumed_all_the_time() {
    let database = database_or_skip!();
    let storage = open(&format!("{}?statement-cache-capacity=0", database.url())).await;
    report_one(&*storage, "t", 1).await.unwrap();
    let mut removals = storage.foreign_removals();
    for _ in 0..5 {
        expect_change(&mut removals).await;
    }
}

#[tokio::test]
async fn a_lost_listener_is_replaced() {
    let database = database_or_skip!();
    without_statistics(&database);
    let storage = open(database.url()).await;
    let mut removals = storage.foreign_removals();
    quiet(&mut removals).await;
    database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()");
    expect_change(&mut removals).await;
    quiet(&mut removals).await;
    report_one(&*storage, "t", 1).await.unwrap();
    let other = open(database.url()).await;
    quiet(&mut removals).await;
    other.remove(&[(Column::Taskhash, "t".to_owned())].into_iter().collect()).await.unwrap();
    expect_change(&mut removals).await;
}
