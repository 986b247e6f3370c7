//! Looking up hashes.

use super::samples::{METHOD, ODD_TEXTS, entry, report, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{MAX_BATCH, Report, TaskKey, Unihash, UnihashEntry};

pub async fn unknown_hashes_are_not_found(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.unihashes(&[task("t1")]).await?, [None]);
    assert_eq!(storage.unihashes_exist(&[unihash(1)]).await?, [false]);
    Ok(())
}

pub async fn nothing_asked_is_nothing_answered(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.unihashes(&[]).await?, []);
    assert_eq!(storage.unihashes_exist(&[]).await?, [] as [bool; 0]);
    assert_eq!(storage.report(Vec::new()).await?, []);
    assert_eq!(storage.record_unihashes(Vec::new()).await?, []);
    assert_eq!(storage.mark(Vec::new()).await?, [] as [u64; 0]);
    Ok(())
}

pub async fn results_stand_in_the_order_of_the_keys(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1)), report("t2", "o2", unihash(2))]).await?;
    let keys = ["t2", "none", "t1", "t2", "t2", "none", "t1"].map(task);
    let expected = [2, 0, 1, 2, 2, 0, 1].map(|byte| (byte != 0).then(|| unihash(byte)));
    assert_eq!(storage.unihashes(&keys).await?, expected);
    let unihashes = [2, 9, 1, 2, 9].map(unihash);
    assert_eq!(storage.unihashes_exist(&unihashes).await?, [true, false, true, true, false]);
    Ok(())
}

pub async fn keys_are_opaque_text(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    // PostgreSQL indexes keys of some 2,700 bytes together, after compression.
    let long = "x".repeat(20_000);
    let texts: Vec<&str> = ODD_TEXTS.into_iter().chain([long.as_str(), "X", "x", "x "]).collect();
    for (number, text) in (1..).zip(&texts) {
        let odd = Report { method: (*text).to_owned(), ..report(text, text, unihash(number)) };
        assert_eq!(storage.report(vec![odd]).await?, [unihash(number)], "{text:?}");
    }
    let keys: Vec<TaskKey<'_>> = texts.iter().map(|text| TaskKey { method: text, taskhash: text }).collect();
    let expected: Vec<Option<Unihash>> =
        (1..).take(texts.len()).map(|number| Some(unihash(number))).collect();
    assert_eq!(storage.unihashes(&keys).await?, expected);
    let crossed = TaskKey { method: texts[1], taskhash: texts[2] };
    assert_eq!(storage.unihashes(&[crossed]).await?, [None]);
    Ok(())
}

/// Older servers stored unihashes of other forms.
pub async fn text_that_is_no_digest_comes_back(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let unihashes: Vec<Unihash> = ODD_TEXTS.into_iter().chain(["aaaa"]).map(Unihash::from_stored).collect();
    let entries: Vec<UnihashEntry> =
        (0..).zip(&unihashes).map(|(n, unihash)| entry(&format!("t{n}"), unihash.clone())).collect();
    assert_eq!(storage.record_unihashes(entries.clone()).await?, unihashes);
    let keys: Vec<TaskKey<'_>> = entries.iter().map(UnihashEntry::task_key).collect();
    let found: Vec<Unihash> = storage.unihashes(&keys).await?.into_iter().flatten().collect();
    assert_eq!(found, unihashes);
    assert_eq!(storage.unihashes_exist(&unihashes).await?, vec![true; unihashes.len()]);
    assert_eq!(storage.unihashes_exist(&[Unihash::from_stored("aaab")]).await?, [false]);
    Ok(())
}

pub async fn batches_beyond_the_bound_are_served(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let count = 2 * MAX_BATCH + 7;
    let digest = |number: usize| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        Unihash::from(bytes)
    };
    let reports: Vec<Report> =
        (0..count).map(|n| report(&format!("t{n}"), &format!("o{n}"), digest(n))).collect();
    let expected: Vec<Unihash> = (0..count).map(digest).collect();
    assert_eq!(storage.report(reports.clone()).await?, expected);
    let keys: Vec<TaskKey<'_>> = reports.iter().rev().map(Report::task_key).collect();
    let found: Vec<Unihash> = storage.unihashes(&keys).await?.into_iter().rev().flatten().collect();
    assert_eq!(found, expected);
    assert_eq!(storage.unihashes_exist(&expected).await?, vec![true; count]);
    Ok(())
}

pub async fn concurrent_lookups_get_their_own_answers(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let entries = (0..100).map(|n| entry(&format!("t{n}"), unihash(n))).collect();
    storage.record_unihashes(entries).await?;
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..50_u8 {
        let storage = storage.clone();
        tasks.spawn(async move {
            for last in first..100 {
                let taskhashes: Vec<String> = (first..=last).map(|n| format!("t{n}")).collect();
                let keys: Vec<TaskKey<'_>> =
                    taskhashes.iter().map(|taskhash| TaskKey { method: METHOD, taskhash }).collect();
                let expected: Vec<Option<Unihash>> = (first..=last).map(|n| Some(unihash(n))).collect();
                assert_eq!(storage.unihashes(&keys).await?, expected);
                assert_eq!(storage.unihashes_exist(&[unihash(last), unihash(200)]).await?, [true, false]);
            }
            Ok::<_, crate::StorageError>(())
        });
    }
    while let Some(joined) = tasks.join_next().await {
        joined.expect("no panic")?;
    }
    Ok(())
}

pub async fn the_newest_unihashes_are_told_in_pages(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.newest_unihashes(None, 10).await?, []);
    for number in 1..=5 {
        storage.record_unihashes(vec![entry(&format!("t{number}"), unihash(number))]).await?;
    }
    let newest = storage.newest_unihashes(None, 2).await?;
    let older = storage.newest_unihashes(newest.last().map(|stored| stored.id), 10).await?;
    let entries: Vec<UnihashEntry> = newest.iter().chain(&older).map(|stored| stored.entry.clone()).collect();
    let expected: Vec<_> =
        (1..=5).rev().map(|number| entry(&format!("t{number}"), unihash(number))).collect();
    assert_eq!((newest.len(), entries), (2, expected));
    assert_eq!(storage.newest_unihashes(older.last().map(|stored| stored.id), 10).await?, []);
    Ok(())
}
