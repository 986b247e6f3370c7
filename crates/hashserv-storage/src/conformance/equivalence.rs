//! The rules of equivalence.

use super::samples::{METHOD, at, conditions, entry, output, report, report_at, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{Column, Report, TaskKey};

pub async fn a_first_report_keeps_its_unihash(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.report(vec![report("t1", "o1", unihash(1))]).await?, [unihash(1)]);
    assert_eq!(storage.unihashes(&[task("t1")]).await?, [Some(unihash(1))]);
    Ok(())
}

pub async fn reports_of_one_output_share_the_unihash_of_the_oldest(
    database: &dyn TestDatabase,
) -> TestResult {
    let storage = database.open().await;
    for (number, taskhash) in ["t1", "t2", "t3"].into_iter().enumerate() {
        let sent = unihash(number as u8 + 1);
        assert_eq!(storage.report(vec![report(taskhash, "o1", sent)]).await?, [unihash(1)]);
    }
    assert_eq!(storage.unihashes(&[task("t3"), task("t2")]).await?, [Some(unihash(1)), Some(unihash(1))]);
    assert_eq!(storage.report(vec![report("t4", "o2", unihash(4))]).await?, [unihash(4)]);
    Ok(())
}

pub async fn a_task_keeps_the_unihash_that_it_has(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1)), report("t2", "o2", unihash(2))]).await?;
    assert_eq!(storage.report(vec![report("t2", "o1", unihash(3))]).await?, [unihash(2)]);
    assert_eq!(storage.report(vec![report("t1", "o9", unihash(4))]).await?, [unihash(1)]);
    Ok(())
}

pub async fn outputs_of_other_methods_are_not_equivalent(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let other = Report { method: "another".to_owned(), ..report("t2", "o1", unihash(2)) };
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    assert_eq!(storage.report(vec![other]).await?, [unihash(2)]);
    assert_eq!(storage.unihashes(&[task("t2")]).await?, [None]);
    assert_eq!(
        storage.unihashes(&[TaskKey { method: "another", taskhash: "t2" }]).await?,
        [Some(unihash(2))]
    );
    Ok(())
}

pub async fn report_with_an_older_time_is_not_older_than_what_is_stored(
    database: &dyn TestDatabase,
) -> TestResult {
    let storage = database.open().await;
    storage.record_unihashes(vec![entry("first", unihash(1)), entry("second", unihash(2))]).await?;
    storage.report(vec![report_at("first", "o1", unihash(9), at(100))]).await?;
    storage.report(vec![report_at("second", "o1", unihash(9), at(50))]).await?;
    assert_eq!(storage.report(vec![report_at("t3", "o1", unihash(3), at(70))]).await?, [unihash(1)]);
    let oldest = storage.unified_outhash_row(output("o1")).await?.expect("a row");
    assert_eq!((oldest.report.taskhash.as_str(), oldest.report.created), ("first", Some(at(100))));
    let younger = storage.task_row(task("second")).await?.expect("a row");
    assert_eq!(younger.report.created, Some(at(100)));
    Ok(())
}

pub async fn a_report_is_recorded_once(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report_at("t1", "o1", unihash(1), at(100))]).await?;
    let first = storage.outhash_row(output("o1")).await?;
    let mut again = report_at("t1", "o1", unihash(2), at(10));
    again.details.owner = Some("somebody".to_owned());
    assert_eq!(storage.report(vec![again]).await?, [unihash(1)]);
    assert_eq!(storage.outhash_row(output("o1")).await?, first);
    assert_eq!(storage.remove(&conditions([(Column::Outhash, "o1")])).await?, 1);
    Ok(())
}

pub async fn a_task_without_unihash_gets_one_again(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    assert_eq!(storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?, 1);
    assert_eq!(storage.unihashes(&[task("t1")]).await?, [None]);
    assert_eq!(storage.report(vec![report("t1", "o1", unihash(2))]).await?, [unihash(2)]);
    Ok(())
}

pub async fn an_older_task_without_unihash_does_not_count(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.record_unihashes(vec![entry("t2", unihash(2))]).await?;
    storage
        .report(vec![report_at("t1", "o1", unihash(1), at(1)), report_at("t2", "o1", unihash(2), at(2))])
        .await?;
    storage
        .remove(&conditions([(Column::Method, METHOD), (Column::Unihash, &unihash(1).to_string())]))
        .await?;
    // The condition on the method has removed all reports.
    storage
        .report(vec![report_at("t2", "o1", unihash(9), at(2)), report_at("t3", "o1", unihash(3), at(3))])
        .await?;
    assert_eq!(storage.unihashes(&[task("t1"), task("t3")]).await?, [None, Some(unihash(2))]);
    Ok(())
}

pub async fn reports_of_a_batch_see_those_before_them(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let batch = vec![
        report_at("t1", "o1", unihash(1), at(1)),
        report_at("t2", "o1", unihash(2), at(2)),
        report_at("t1", "o2", unihash(3), at(3)),
        report_at("t3", "o2", unihash(4), at(4)),
        report_at("t4", "o3", unihash(5), at(5)),
        report_at("t4", "o3", unihash(6), at(6)),
    ];
    let expected = [1, 1, 1, 1, 5, 5].map(unihash);
    assert_eq!(storage.report(batch).await?, expected);
    let tasks = ["t1", "t2", "t3", "t4"].map(task);
    assert_eq!(storage.unihashes(&tasks).await?, [1, 1, 1, 5].map(|byte| Some(unihash(byte))));
    Ok(())
}

/// What a task reported before it lost its unihash counts again at once when it has one.
pub async fn a_task_that_gets_a_unihash_counts_for_its_older_reports(
    database: &dyn TestDatabase,
) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report_at("t1", "old", unihash(1), at(1))]).await?;
    storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?;
    let batch = vec![report_at("t1", "new", unihash(2), at(2)), report_at("t2", "old", unihash(3), at(3))];
    assert_eq!(storage.report(batch).await?, [unihash(2), unihash(2)]);
    Ok(())
}

pub async fn recorded_unihashes_are_kept(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    assert_eq!(storage.record_unihashes(vec![entry("t1", unihash(1))]).await?, [unihash(1)]);
    assert_eq!(storage.record_unihashes(vec![entry("t1", unihash(2))]).await?, [unihash(1)]);
    assert_eq!(storage.report(vec![report("t1", "o1", unihash(3))]).await?, [unihash(1)]);
    assert_eq!(storage.outhash_row(output("o2")).await?, None);
    Ok(())
}

pub async fn recorded_unihashes_of_a_batch_see_those_before_them(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let batch = vec![entry("t1", unihash(1)), entry("t2", unihash(2)), entry("t1", unihash(3))];
    assert_eq!(storage.record_unihashes(batch).await?, [1, 2, 1].map(unihash));
    Ok(())
}

pub async fn concurrent_reports_of_an_output_converge(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..32_u8 {
        let storage = storage.clone();
        tasks.spawn(async move {
            let outputs = (0..20)
                .map(|output| report(&format!("t{number}-{output}"), &format!("o{output}"), unihash(number)));
            let mut unihashes = Vec::new();
            for report in outputs {
                unihashes.extend(storage.report(vec![report]).await?);
            }
            Ok::<_, crate::StorageError>(unihashes)
        });
    }
    let mut all = Vec::new();
    while let Some(joined) = tasks.join_next().await {
        all.push(joined.expect("no panic")?);
    }
    assert!(all.iter().all(|unihashes| *unihashes == all[0]), "{all:?}");
    Ok(())
}
