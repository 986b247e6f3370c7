//! Garbage collection.

use super::samples::{METHOD, conditions, entry, mark, report, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{Column, GcStatus, MarkRequest, Storage, StorageError, Sweep, UnihashEntry};

fn status(mark: Option<&str>, keep: u64, remove: u64) -> GcStatus {
    GcStatus { mark: mark.map(str::to_owned), keep, remove }
}

/// Gives the tasks t0, t1, … the unihashes of 0, 1, ….
async fn record(storage: &dyn Storage, count: u8) -> TestResult {
    let entries = (0..count).map(|number| entry(&format!("t{number}"), unihash(number))).collect();
    storage.record_unihashes(entries).await.map(|_| ())
}

fn mark_unihash(name: &str, byte: u8) -> MarkRequest {
    mark(name, [(Column::Unihash, &unihash(byte).to_string())])
}

pub async fn without_a_collection_everything_is_kept(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.gc_status().await?, status(None, 0, 0));
    record(&*storage, 3).await?;
    assert_eq!(storage.gc_status().await?, status(None, 3, 0));
    Ok(())
}

pub async fn marking_counts_what_matches_and_makes_the_mark_current(
    database: &dyn TestDatabase,
) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 4).await?;
    storage.record_unihashes(vec![entry("another", unihash(1))]).await?;
    assert_eq!(storage.mark(vec![mark_unihash("m", 1)]).await?, [2]);
    assert_eq!(storage.gc_status().await?, status(Some("m"), 2, 3));
    assert_eq!(storage.mark(vec![mark_unihash("m", 1)]).await?, [2], "marked ones match too");
    assert_eq!(storage.mark(vec![mark_unihash("m", 99)]).await?, [0]);
    assert_eq!(storage.mark(vec![mark("m", [])]).await?, [0]);
    assert_eq!(storage.mark(vec![mark("m", [(Column::Outhash, "o"), (Column::Owner, "o")])]).await?, [0]);
    assert_eq!(storage.mark(vec![mark("m", [(Column::Taskhash, "t0"), (Column::Outhash, "o")])]).await?, [1]);
    assert_eq!(storage.gc_status().await?, status(Some("m"), 3, 2));
    assert_eq!(storage.mark(vec![mark("n", [])]).await?, [0], "another mark, another collection");
    assert_eq!(storage.gc_status().await?, status(Some("n"), 0, 5));
    assert_eq!(storage.mark(vec![mark("n", [(Column::Method, METHOD)])]).await?, [5]);
    assert_eq!(storage.gc_status().await?, status(Some("n"), 5, 0));
    Ok(())
}

pub async fn marks_are_taken_one_after_the_other(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 3).await?;
    let requests = vec![mark_unihash("a", 0), mark_unihash("b", 1), mark_unihash("a", 2)];
    assert_eq!(storage.mark(requests).await?, [1, 1, 1]);
    assert_eq!(storage.gc_status().await?, status(Some("a"), 2, 1));
    Ok(())
}

pub async fn marking_many_counts_each(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 200).await?;
    storage.record_unihashes(vec![entry("another", unihash(7))]).await?;
    let mut requests: Vec<MarkRequest> = (0..250).map(|number| mark_unihash("m", number)).collect();
    requests.push(mark_unihash("m", 7));
    let by_method = |method, byte| {
        mark("m", [(Column::Unihash, unihash(byte).to_string().as_str()), (Column::Method, method)])
    };
    requests.extend([by_method(METHOD, 7), by_method("another", 7), by_method(METHOD, 8)]);
    let mut expected: Vec<u64> = (0..250).map(|number| u64::from(number < 200)).collect();
    expected[7] = 2;
    expected.extend([2, 2, 0, 1]);
    assert_eq!(storage.mark(requests).await?, expected);
    assert_eq!(storage.gc_status().await?, status(Some("m"), 201, 0));
    Ok(())
}

/// Of columns that may have no index.
pub async fn marking_by_any_columns_counts_each(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 200).await?;
    storage
        .record_unihashes(vec![UnihashEntry { method: "other".to_owned(), ..entry("t7", unihash(7)) }])
        .await?;
    let by_taskhash = |number: u8| mark("m", [(Column::Taskhash, &format!("t{number}"))]);
    let mut requests: Vec<MarkRequest> = (0..250).step_by(2).map(by_taskhash).collect();
    requests.extend([by_taskhash(7), by_taskhash(2), by_taskhash(7)]);
    let mut expected: Vec<u64> = (0..250).step_by(2).map(|number| u64::from(number < 200)).collect();
    expected.extend([2, 1, 2]);
    assert_eq!(storage.mark(requests).await?, expected);
    assert_eq!(storage.gc_status().await?, status(Some("m"), 102, 99));
    let by_mark = |old, method| mark("n", [(Column::GcMark, old), (Column::Method, method)]);
    let by_method = |method| mark("n", [(Column::Method, method)]);
    let requests = vec![by_mark("m", METHOD), by_mark("m", "other"), by_method("other"), by_method("none")];
    assert_eq!(storage.mark(requests).await?, [101, 1, 1, 0]);
    assert_eq!(
        storage.mark(vec![by_method(METHOD), by_method("other"), by_method(METHOD)]).await?,
        [200, 1, 200]
    );
    assert_eq!(storage.gc_status().await?, status(Some("n"), 201, 0));
    Ok(())
}

pub async fn marking_by_a_mark_sees_the_marks_before(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 3).await?;
    let by_mark = |new, old| mark(new, [(Column::GcMark, old)]);
    let requests =
        vec![by_mark("m", ""), by_mark("m", ""), by_mark("m", "m"), by_mark("n", "m"), by_mark("n", "m")];
    assert_eq!(storage.mark(requests).await?, [3, 0, 3, 3, 0]);
    assert_eq!(storage.gc_status().await?, status(Some("n"), 3, 0));
    Ok(())
}

pub async fn sweeping_removes_what_is_not_marked(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 4).await?;
    storage.mark(vec![mark_unihash("m", 1), mark_unihash("m", 2)]).await?;
    assert_eq!(storage.sweep("m").await?, Sweep::Done(2));
    let tasks = ["t0", "t1", "t2", "t3"].map(task);
    assert_eq!(storage.unihashes(&tasks).await?, [None, Some(unihash(1)), Some(unihash(2)), None]);
    assert_eq!(storage.gc_status().await?, status(None, 0, 2), "kept rows still carry the mark");
    assert_eq!(storage.sweep("m").await?, Sweep::NotCurrentMark);
    storage.record_unihashes(vec![entry("t9", unihash(9))]).await?;
    assert_eq!(storage.gc_status().await?, status(None, 1, 2), "new rows carry no mark any more");
    Ok(())
}

pub async fn what_is_reported_during_a_collection_is_kept(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 2).await?;
    storage.mark(vec![mark("m", [])]).await?;
    storage.report(vec![report("new", "o1", unihash(5)), report("t0", "o2", unihash(5))]).await?;
    storage.record_unihashes(vec![entry("direct", unihash(6)), entry("t1", unihash(6))]).await?;
    assert_eq!(storage.gc_status().await?, status(Some("m"), 2, 2));
    let row = storage.task_row(task("new")).await?.expect("just reported");
    assert_eq!(row.gc_mark, "m");
    assert_eq!(storage.sweep("m").await?, Sweep::Done(2));
    assert_eq!(
        storage.unihashes(&["new", "direct", "t0"].map(task)).await?,
        [Some(unihash(5)), Some(unihash(6)), None]
    );
    Ok(())
}

pub async fn only_the_current_mark_is_swept(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 2).await?;
    assert_eq!(storage.sweep("m").await?, Sweep::NotCurrentMark);
    storage.mark(vec![mark("m", [])]).await?;
    assert_eq!(storage.sweep("M").await?, Sweep::NotCurrentMark);
    assert_eq!(storage.gc_status().await?, status(Some("m"), 0, 2));
    Ok(())
}

pub async fn the_empty_mark_is_never_swept(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    record(&*storage, 2).await?;
    storage.mark(vec![mark("m", [(Column::Taskhash, "t0")])]).await?;
    storage.mark(vec![mark("", [])]).await?;
    assert_eq!(storage.gc_status().await?, status(Some(""), 1, 1));
    assert_eq!(storage.sweep("").await?, Sweep::NotCurrentMark);
    assert_eq!(storage.unihashes(&["t0", "t1"].map(task)).await?, [Some(unihash(0)), Some(unihash(1))]);
    Ok(())
}

/// More than a backend may remove at once.
pub async fn a_sweep_of_many_rows_removes_all(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let entries: Vec<UnihashEntry> =
        (0..5000).map(|number| entry(&format!("t{number}"), unihash(1))).collect();
    for chunk in entries.chunks(1000) {
        storage.record_unihashes(chunk.to_vec()).await?;
    }
    storage.mark(vec![mark("m", [(Column::Taskhash, "t2500")])]).await?;
    let sweep = tokio::spawn({
        let storage = storage.clone();
        async move { storage.sweep("m").await }
    });
    storage.report(vec![report("meanwhile", "o1", unihash(2))]).await?;
    assert_eq!(sweep.await.map_err(StorageError::backend)??, Sweep::Done(4999));
    assert_eq!(storage.unihashes_exist(&[unihash(1), unihash(2)]).await?, [true, true]);
    assert_eq!(storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?, 1);
    Ok(())
}

/// Every one of them, also where a backend marks some at a time, and those that are recorded meanwhile.
pub async fn marking_many_rows_marks_all(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let entries: Vec<UnihashEntry> =
        (0..5000).map(|number| entry(&format!("t{number}"), unihash(number as u8 % 2))).collect();
    for chunk in entries.chunks(1000) {
        storage.record_unihashes(chunk.to_vec()).await?;
    }
    let requests =
        vec![mark("m", [(Column::GcMark, "")]), mark("m", [(Column::Taskhash, "t7")]), mark("m", [])];
    let marking = tokio::spawn({
        let storage = storage.clone();
        async move { storage.mark(requests).await }
    });
    storage.report(vec![report("meanwhile", "o1", unihash(2))]).await?;
    let counts = marking.await.map_err(StorageError::backend)??;
    assert!([5000, 5001].contains(&counts[0]) && counts[1..] == [1, 0], "{counts:?}");
    let expected = GcStatus { mark: Some("m".to_owned()), keep: 5001, remove: 0 };
    assert_eq!(storage.gc_status().await?, expected);
    Ok(())
}
