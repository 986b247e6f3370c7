//! Rows and totals.

use super::samples::{ODD_TEXTS, at, conditions, entry, output, report, report_at, task, unihash};
use super::{TestDatabase, TestResult};
use crate::{Column, Details, Report};

fn full_report(text: &str) -> Report {
    let details = Details {
        owner: Some(format!("owner {text}")),
        pn: Some(format!("pn {text}")),
        pv: Some(format!("pv {text}")),
        pr: Some(format!("pr {text}")),
        task: Some(format!("task {text}")),
        outhash_siginfo: Some(text.repeat(1 + 1_000_000 / (text.len() + 1))),
    };
    Report { details, ..report(&format!("t{text}"), &format!("o{text}"), unihash(1)) }
}

pub async fn a_report_comes_back_in_full(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let long = "Ünïcode line\n".repeat(100);
    for text in ODD_TEXTS.into_iter().chain([long.as_str()]) {
        let sent = full_report(text);
        storage.report(vec![sent.clone()]).await?;
        let row = storage.unified_outhash_row(sent.outhash_key()).await?.expect("just reported");
        assert_eq!(storage.task_row(sent.task_key()).await?.as_ref(), Some(&row));
        assert_eq!(storage.outhash_row(sent.outhash_key()).await?.as_ref(), Some(&row.report));
        assert_eq!(row.unihash, sent.unihash);
        assert_eq!(row.gc_mark, "");
        let found = row.report;
        assert_eq!((found.method, found.taskhash, found.outhash), (sent.method, sent.taskhash, sent.outhash));
        assert_eq!(found.created, Some(sent.created));
        assert!(found.details == sent.details, "{text:.40?}");
    }
    Ok(())
}

pub async fn absent_details_stay_absent(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let empty = Details { owner: Some(String::new()), ..Details::default() };
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    storage.report(vec![Report { details: empty.clone(), ..report("t2", "o2", unihash(2)) }]).await?;
    let details =
        async |outhash| storage.outhash_row(output(outhash)).await.map(|row| row.map(|row| row.details));
    assert_eq!(details("o1").await?, Some(Details::default()));
    assert_eq!(details("o2").await?, Some(empty));
    Ok(())
}

pub async fn the_oldest_report_of_an_output_is_found(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    for (taskhash, seconds) in [("t1", 10), ("t1b", 10), ("t2", 20), ("t3", 30)] {
        storage.report(vec![report_at(taskhash, "o1", unihash(1), at(seconds))]).await?;
    }
    storage.report(vec![report_at("t2", "o0", unihash(1), at(5))]).await?;
    let row = storage.outhash_row(output("o1")).await?.expect("reported");
    assert_eq!((row.taskhash.as_str(), row.created), ("t1", Some(at(10))));
    let row = storage.unified_outhash_row(output("o1")).await?.expect("reported");
    assert_eq!(row.report.taskhash, "t1");
    let row = storage.task_row(task("t2")).await?.expect("reported");
    assert_eq!(row.report.outhash, "o0");
    Ok(())
}

pub async fn rows_with_a_unihash_need_one(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.record_unihashes(vec![entry("t9", unihash(9))]).await?;
    assert_eq!(storage.task_row(task("t9")).await?, None);
    storage.record_unihashes(vec![entry("t1", unihash(1)), entry("t2", unihash(2))]).await?;
    storage
        .report(vec![report_at("t1", "o1", unihash(1), at(1)), report_at("t2", "o1", unihash(1), at(2))])
        .await?;
    storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?;
    assert_eq!(storage.task_row(task("t1")).await?, None);
    let row = storage.outhash_row(output("o1")).await?.expect("reported");
    assert_eq!(row.taskhash, "t1");
    let row = storage.unified_outhash_row(output("o1")).await?.expect("reported");
    assert_eq!((row.report.taskhash.as_str(), row.unihash), ("t2", unihash(2)));
    assert_eq!(storage.unified_outhash_row(output("o2")).await?, None);
    assert_eq!(storage.outhash_row(output("o2")).await?, None);
    Ok(())
}

pub async fn usage_counts_the_rows_of_each_table(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let usage = async || -> Result<Vec<(&'static str, u64)>, crate::StorageError> {
        Ok(storage.usage().await?.into_iter().map(|usage| (usage.table, usage.rows)).collect())
    };
    let tables = ["unihashes_v3", "outhashes_v2", "users", "config"];
    assert_eq!(usage().await?, tables.map(|table| (table, 0)));
    storage.report(vec![report("t1", "o1", unihash(1)), report("t1", "o2", unihash(1))]).await?;
    assert_eq!(usage().await?[..2], [("unihashes_v3", 1), ("outhashes_v2", 2)]);
    Ok(())
}
