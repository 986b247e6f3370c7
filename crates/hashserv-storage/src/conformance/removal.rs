//! Removing rows.

use super::samples::{
    METHOD, ODD_TEXTS, at, conditions, entry, mark, output, report, report_at, task, unihash,
};
use super::{TestDatabase, TestResult};
use crate::{Column, Details, Report, Storage, StorageError};

async fn rows(storage: &dyn Storage) -> Result<(u64, u64), StorageError> {
    let usage = storage.usage().await?;
    Ok((usage[0].rows, usage[1].rows))
}

pub async fn each_table_looks_at_its_own_columns(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1)), report("t2", "o2", unihash(2))]).await?;
    let named = conditions([(Column::Taskhash, "t1"), (Column::Outhash, "another")]);
    assert_eq!(storage.remove(&named).await?, 1);
    assert_eq!(storage.unihashes(&[task("t1")]).await?, [None]);
    assert!(storage.outhash_row(output("o1")).await?.is_some());
    let named = conditions([(Column::Unihash, &unihash(2).to_string()), (Column::Outhash, "o1")]);
    assert_eq!(storage.remove(&named).await?, 2);
    assert_eq!(rows(&*storage).await?, (0, 1));
    Ok(())
}

pub async fn all_conditions_of_a_table_must_match(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let other = Report { method: "another".to_owned(), ..report("t1", "o1", unihash(1)) };
    storage.report(vec![report("t1", "o1", unihash(1)), report("t1", "o2", unihash(1)), other]).await?;
    let named = conditions([(Column::Method, METHOD), (Column::Taskhash, "t1"), (Column::Outhash, "o2")]);
    assert_eq!(storage.remove(&named).await?, 2);
    assert_eq!(rows(&*storage).await?, (1, 2));
    assert_eq!(storage.remove(&conditions([(Column::Method, "another")])).await?, 2);
    assert_eq!(rows(&*storage).await?, (0, 1));
    Ok(())
}

pub async fn every_column_can_be_named(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    let details = Details {
        owner: Some("owner".to_owned()),
        pn: Some("pn".to_owned()),
        pv: Some("pv".to_owned()),
        pr: Some("pr".to_owned()),
        task: Some("task".to_owned()),
        outhash_siginfo: Some("siginfo".to_owned()),
    };
    let digest = unihash(1).to_string();
    for (column, value, expected) in [
        (Column::Method, METHOD, 2),
        (Column::Taskhash, "t1", 2),
        (Column::Unihash, digest.as_str(), 1),
        (Column::GcMark, "m", 1),
        (Column::Outhash, "o1", 1),
        (Column::Owner, "owner", 1),
        (Column::Pn, "pn", 1),
        (Column::Pv, "pv", 1),
        (Column::Pr, "pr", 1),
        (Column::Task, "task", 1),
        (Column::OuthashSiginfo, "siginfo", 1),
    ] {
        storage.mark(vec![mark("m", [])]).await?;
        storage.report(vec![Report { details: details.clone(), ..report("t1", "o1", unihash(1)) }]).await?;
        assert_eq!(storage.remove(&conditions([(column, "none such")])).await?, 0, "{column:?}");
        assert_eq!(storage.remove(&conditions([(column, value)])).await?, expected, "{column:?}");
        storage.remove(&conditions([(Column::Taskhash, "t1")])).await?;
        assert_eq!(rows(&*storage).await?, (0, 0), "{column:?}");
    }
    of_row_columns(&*storage).await
}

/// Removes by the columns that no mark can name.
async fn of_row_columns(storage: &dyn Storage) -> TestResult {
    for column in [Column::Id, Column::Created] {
        storage.report(vec![report_at("t1", "o1", unihash(1), at(7))]).await?;
        let row = storage.outhash_row(output("o1")).await?.expect("just reported");
        let value = match column {
            Column::Id => row.id.to_string(),
            _ => row.created.expect("just reported").to_string(),
        };
        assert_eq!(storage.remove(&conditions([(column, "none such")])).await?, 0, "{column:?}");
        let mismatch = conditions([(column, &value), (Column::Method, "another")]);
        assert_eq!(storage.remove(&mismatch).await?, 0, "{column:?}");
        assert!(storage.remove(&conditions([(column, &value)])).await? > 0, "{column:?}");
        assert!(storage.outhash_row(output("o1")).await?.is_none(), "{column:?}");
        storage.remove(&conditions([(Column::Taskhash, "t1")])).await?;
    }
    Ok(())
}

pub async fn without_conditions_nothing_is_removed(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    storage.report(vec![report("t1", "o1", unihash(1))]).await?;
    assert_eq!(storage.remove(&conditions([])).await?, 0);
    assert_eq!(rows(&*storage).await?, (1, 1));
    Ok(())
}

pub async fn odd_values_match_only_themselves(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    for text in ODD_TEXTS {
        storage.report(vec![report(text, text, unihash(1))]).await?;
    }
    for text in ODD_TEXTS {
        assert_eq!(storage.remove(&conditions([(Column::Taskhash, text)])).await?, 2, "{text:?}");
    }
    assert_eq!(rows(&*storage).await?, (0, 0));
    Ok(())
}

/// More than a backend may remove at once.
pub async fn many_rows_are_removed(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    for chunk in 0..5 {
        let reports =
            (0..1000).map(|n| report(&format!("t{chunk}-{n}"), &format!("o{n}"), unihash(1))).collect();
        storage.report(reports).await?;
    }
    storage.report(vec![Report { method: "another".to_owned(), ..report("t", "o", unihash(2)) }]).await?;
    assert_eq!(storage.remove(&conditions([(Column::Method, METHOD)])).await?, 10_000);
    assert_eq!(rows(&*storage).await?, (1, 1));
    Ok(())
}

pub async fn unused_reports_are_cleaned_by_age(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    for (taskhash, seconds) in [("old", 10), ("new", 20), ("used", 10)] {
        storage.report(vec![report_at(taskhash, "o1", unihash(1), at(seconds))]).await?;
    }
    storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?;
    storage.record_unihashes(vec![entry("used", unihash(2))]).await?;
    assert_eq!(storage.clean_unused(Some(at(10))).await?, 0, "made then is not made before");
    assert_eq!(storage.clean_unused(Some(at(11))).await?, 1);
    assert_eq!(rows(&*storage).await?, (1, 2));
    assert_eq!(storage.clean_unused(Some(at(60))).await?, 1);
    assert_eq!(storage.clean_unused(Some(at(60))).await?, 0);
    assert!(storage.task_row(task("used")).await?.is_some());
    Ok(())
}

pub async fn all_unused_reports_are_cleaned_without_age(database: &dyn TestDatabase) -> TestResult {
    let storage = database.open().await;
    for chunk in 0..5 {
        let reports =
            (0..1000).map(|n| report(&format!("t{chunk}-{n}"), &format!("o{n}"), unihash(1))).collect();
        storage.report(reports).await?;
    }
    storage.remove(&conditions([(Column::Unihash, &unihash(1).to_string())])).await?;
    storage.record_unihashes(vec![entry("t2-500", unihash(2))]).await?;
    assert_eq!(storage.clean_unused(None).await?, 4999);
    assert_eq!(rows(&*storage).await?, (1, 1));
    Ok(())
}
