//! Closing.

use super::samples::{conditions, entry, mark, output, report, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{Column, NewUser, StorageError};

fn assert_closed<T: std::fmt::Debug>(result: Result<T, StorageError>) {
    assert!(matches!(result, Err(StorageError::Closed)), "{result:?}");
}

pub async fn a_closed_storage_refuses_everything(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    storage.mark(vec![mark("m", [])]).await?;
    storage.close().await;
    storage.close().await;
    let user = || NewUser { name: "u".to_owned(), token_hash: String::new(), permissions: String::new() };
    assert_closed(storage.unihashes(&[task("t1")]).await);
    assert_closed(storage.unihashes_exist(&[unihash(1)]).await);
    assert_closed(storage.task_row(task("t1")).await);
    assert_closed(storage.unified_outhash_row(output("o1")).await);
    assert_closed(storage.outhash_row(output("o1")).await);
    assert_closed(storage.report(vec![report("t2", "o2", unihash(1))]).await);
    assert_closed(storage.record_unihashes(vec![entry("t2", unihash(1))]).await);
    assert_closed(storage.remove(&conditions([(Column::Taskhash, "t1")])).await);
    assert_closed(storage.clean_unused(None).await);
    assert_closed(storage.mark(vec![mark("m", [])]).await);
    assert_closed(storage.gc_status().await);
    assert_closed(storage.sweep("m").await);
    assert_closed(storage.usage().await);
    assert_closed(storage.user("u").await);
    assert_closed(storage.users().await);
    assert_closed(storage.create_user(user()).await);
    assert_closed(storage.put_user(user()).await);
    assert_closed(storage.set_permissions(1, "").await);
    assert_closed(storage.set_token(1, "").await);
    assert_closed(storage.delete_user(1).await);
    Ok(())
}

/// Each of the reports under way is either refused or there afterwards.
pub async fn closing_finishes_what_was_begun(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let storage = storage.clone();
        tasks.spawn(async move {
            let taskhash = format!("t{number}");
            let result = storage.report(vec![report(&taskhash, &taskhash, unihash(number))]).await;
            (taskhash, result)
        });
    }
    let first = tasks.join_next().await;
    storage.close().await;
    let mut results: Vec<_> = first.into_iter().collect();
    while let Some(result) = tasks.join_next().await {
        results.push(result);
    }
    let storage = database.open().await;
    for (taskhash, result) in results.into_iter().map(|joined| joined.expect("no panic")) {
        match result {
            Ok(unihashes) => {
                assert_eq!(storage.unihashes(&[task(&taskhash)]).await?, [Some(unihashes[0].clone())]);
            }
            Err(StorageError::Closed) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub async fn what_was_acknowledged_is_there_after_opening_again(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    storage.close().await;
    let storage = database.open().await;
    storage.report(vec![report("t2", "o1", unihash(2))]).await?;
    drop(storage);
    let storage = database.open().await;
    assert_eq!(storage.unihashes(&["t1", "t2"].map(task)).await?, [Some(unihash(1)), Some(unihash(1))]);
    Ok(())
}
