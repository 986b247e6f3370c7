//! What remains when things end badly.

use std::sync::Arc;

use hashserv_storage::{StorageError, Unihash};
use sqlx::Executor as _;

use super::support::{Place, report, task};

/// As when the process dies: nothing is closed, and whatever runs stops where it is.
#[test]
fn what_was_acknowledged_survives_the_end_of_the_runtime() {
    let place = Place::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let acknowledged = runtime.block_on(async {
        let storage = place.open().await;
        let (sender, mut acknowledged) = tokio::sync::mpsc::unbounded_channel();
        for number in 0..8 {
            let (storage, sender) = (Arc::clone(&storage), sender.clone());
            tokio::spawn(async move {
                for count in 0.. {
                    let taskhash = format!("t{number}-{count}");
                    storage.report(vec![report(&taskhash, &taskhash, number)]).await.unwrap();
                    sender.send((taskhash, number)).unwrap();
                }
            });
        }
        let mut all = Vec::new();
        while all.len() < 500 {
            all.push(acknowledged.recv().await.unwrap());
        }
        all
    });
    runtime.shutdown_background();

    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let storage = place.open().await;
        for (taskhash, number) in acknowledged {
            let found = storage.unihashes(&[task(&taskhash)]).await.unwrap();
            assert_eq!(found, [Some(Unihash::from([number; 32]))], "{taskhash}");
        }
    });
}

#[tokio::test]
async fn writes_wait_for_another_process_and_reads_do_not() {
    let place = Place::new();
    let storage = place.open().await;
    let mut other = place.connect().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    other.execute("INSERT INTO config (name, value) VALUES ('theirs', 'x')").await.unwrap();
    let waiting = tokio::spawn({
        let storage = Arc::clone(&storage);
        async move { storage.report(vec![report("t1", "o1", 1)]).await }
    });
    assert_eq!(storage.unihashes(&[task("t1")]).await.unwrap(), [None]);
    assert!(!waiting.is_finished());
    other.execute("COMMIT").await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), [Unihash::from([1; 32])]);
}

#[tokio::test]
async fn what_others_commit_is_noticed_while_a_write_waits_for_them() {
    let place = Place::new();
    let storage = place.open().await;
    let mut foreign = storage.foreign_removals();
    let mut other = place.connect().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    for number in 0.. {
        let name = format!("t{number}");
        let writer = Arc::clone(&storage);
        let waiting = tokio::spawn(async move { writer.report(vec![report(&name, &name, 1)]).await });
        for _ in 0..3 {
            foreign.mark_unchanged();
            let commit = "INSERT INTO config (name) VALUES (random()); COMMIT; BEGIN IMMEDIATE";
            other.execute(commit).await.unwrap();
            foreign.changed().await.unwrap();
        }
        // It may get in between two of their transactions; then another one waits.
        let waits = !waiting.is_finished();
        if waits {
            other.execute("COMMIT").await.unwrap();
        }
        waiting.await.unwrap().unwrap();
        if waits {
            return;
        }
    }
}

/// A trigger of ours refuses one report; those of others, gathered into the same transaction, are recorded.
#[tokio::test]
async fn a_report_that_fails_takes_no_other_with_it() {
    let place = Place::new();
    let storage = place.open().await;
    let mut other = place.connect().await;
    other
        .execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON outhashes_v2 WHEN NEW.taskhash = 'bad' \
             BEGIN SELECT raise(ABORT, 'refused'); END",
        )
        .await
        .unwrap();
    // While another process holds the lock, all gather.
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for taskhash in ["first", "t1", "bad", "t2", "t3"] {
        let storage = Arc::clone(&storage);
        tasks.spawn(async move { (taskhash, storage.report(vec![report(taskhash, taskhash, 1)]).await) });
    }
    other.execute("COMMIT").await.unwrap();
    while let Some(joined) = tasks.join_next().await {
        let (taskhash, result) = joined.unwrap();
        match taskhash {
            "bad" => assert!(matches!(result, Err(StorageError::Backend(_))), "{result:?}"),
            _ => assert_eq!(result.unwrap(), [Unihash::from([1; 32])]),
        }
    }
    let found = storage.unihashes(&["first", "t1", "bad", "t2", "t3"].map(task)).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true, true]);
}

#[tokio::test]
async fn several_storages_open_a_new_database_at_once() {
    let place = Place::new();
    let opened = futures_util::future::join_all((0..8).map(|_| place.open())).await;
    for (number, storage) in (0..).zip(&opened) {
        storage.report(vec![report(&format!("t{number}"), "o1", number)]).await.unwrap();
    }
    assert_eq!(opened[0].usage().await.unwrap()[0].rows, 8);
    for storage in opened {
        storage.close().await;
    }
    assert!(!place.beside("-wal").exists(), "the last one has moved the log into the database");
}

#[tokio::test]
async fn text_with_nul_is_kept() {
    let place = Place::new();
    let storage = place.open().await;
    let taskhash = "a\0b";
    let mut sent = report(taskhash, "o\0p", 1);
    sent.details.outhash_siginfo = Some("\0x\0".to_owned());
    storage.report(vec![sent.clone()]).await.unwrap();
    storage.report(vec![report("a", "o", 2)]).await.unwrap();
    let found = storage.unihashes(&[task(taskhash), task("a"), task("a\0c")]).await.unwrap();
    assert_eq!(found, [Some(Unihash::from([1; 32])), Some(Unihash::from([2; 32])), None]);
    let row = storage.task_row(task(taskhash)).await.unwrap().unwrap();
    assert_eq!((row.report.outhash, row.report.details), (sent.outhash, sent.details));
}
