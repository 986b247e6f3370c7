//! Several storages on one database.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::samples::{conditions, entry, mark, report, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{Column, GcStatus, Storage, StorageError, Sweep, Unihash};

/// Far more than the 200 ms that a backend has: a slow machine must not fail the test.
const PATIENCE: Duration = Duration::from_secs(30);

async fn expect_change(removals: &mut watch::Receiver<u64>) {
    timeout(PATIENCE, removals.changed())
        .await
        .expect("the removal is noticed")
        .expect("the storage is open");
}

pub async fn what_one_commits_another_sees(database: &dyn TestDatabase) -> TestResult {
    let (one, other) = (database.open().await, database.open().await);
    for number in 1..20 {
        let (taskhash, outhash) = (format!("t{number}"), format!("o{number}"));
        one.report(vec![report(&taskhash, &outhash, unihash(number))]).await?;
        assert_eq!(other.unihashes(&[task(&taskhash)]).await?, [Some(unihash(number))]);
        assert!(other.task_row(task(&taskhash)).await?.is_some());
        other.remove(&conditions([(Column::Taskhash, &taskhash)])).await?;
        assert_eq!(one.unihashes(&[task(&taskhash)]).await?, [None]);
        assert_eq!(one.unihashes_exist(&[unihash(number)]).await?, [false]);
    }
    Ok(())
}

pub async fn reports_through_two_storages_converge(database: &dyn TestDatabase) -> TestResult {
    let storages = [database.open().await, database.open().await];
    let report_all = async |storage: Arc<dyn Storage>, number: u8| -> Result<Vec<Unihash>, StorageError> {
        let mut unihashes = Vec::new();
        for output in 0..50 {
            let sent = report(&format!("t{number}-{output}"), &format!("o{output}"), unihash(number));
            unihashes.extend(storage.report(vec![sent]).await?);
        }
        Ok(unihashes)
    };
    let [one, other] = storages;
    let (first, second, third, fourth) = tokio::try_join!(
        report_all(Arc::clone(&one), 1),
        report_all(Arc::clone(&other), 2),
        report_all(one, 3),
        report_all(other, 4),
    )?;
    assert_eq!(first, second);
    assert_eq!(first, third);
    assert_eq!(first, fourth);
    Ok(())
}

pub async fn removals_by_another_are_noticed(database: &dyn TestDatabase) -> TestResult {
    let (one, other) = (database.open().await, database.open().await);
    one.report(vec![report("t1", "o1", unihash(1))]).await?;
    let mut removals = one.foreign_removals();
    for number in 0..3 {
        let taskhash = format!("t{number}");
        one.record_unihashes(vec![entry(&taskhash, unihash(1))]).await?;
        removals.mark_unchanged();
        other.remove(&conditions([(Column::Taskhash, &taskhash)])).await?;
        expect_change(&mut removals).await;
    }
    Ok(())
}

pub async fn sweeps_by_another_are_noticed(database: &dyn TestDatabase) -> TestResult {
    let (one, other) = (database.open().await, database.open().await);
    one.report(vec![report("t1", "o1", unihash(1))]).await?;
    one.mark(vec![mark("m", [])]).await?;
    let mut removals = one.foreign_removals();
    removals.mark_unchanged();
    assert_eq!(other.sweep("m").await?, Sweep::Done(1));
    expect_change(&mut removals).await;
    Ok(())
}

pub async fn a_collection_is_shared(database: &dyn TestDatabase) -> TestResult {
    let (one, other) = (database.open().await, database.open().await);
    one.report(vec![report("t1", "o1", unihash(1))]).await?;
    one.mark(vec![mark("m", [])]).await?;
    other.report(vec![report("t2", "o2", unihash(2))]).await?;
    assert_eq!(other.gc_status().await?, GcStatus { mark: Some("m".to_owned()), keep: 1, remove: 1 });
    assert_eq!(other.sweep("m").await?, Sweep::Done(1));
    assert_eq!(one.sweep("m").await?, Sweep::NotCurrentMark);
    assert_eq!(one.unihashes(&[task("t1"), task("t2")]).await?, [None, Some(unihash(2))]);
    Ok(())
}
