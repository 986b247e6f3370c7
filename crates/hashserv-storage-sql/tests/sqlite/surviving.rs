//! What remains when things end badly.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _};
use hashserv_storage::{StorageError, Unihash};
use sqlx::Executor as _;
use tokio::time::timeout;

use super::support::{Place, in_time, report, task};

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
            all.push(in_time(acknowledged.recv()).await.unwrap());
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
    let mut waiting = Box::pin(storage.report(vec![report("t1", "o1", 1)]));
    // Long enough for several attempts; one that failed at once would end it.
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    // Shorter than a read would wait for a lock.
    let read = timeout(Duration::from_secs(15), storage.unihashes(&[task("t1")])).await;
    assert_eq!(read.expect("the read does not wait").unwrap(), [None]);
    other.execute("COMMIT").await.unwrap();
    assert_eq!(in_time(waiting).await.unwrap(), [Unihash::from([1; 32])]);
}

#[tokio::test]
async fn what_others_commit_is_noticed_while_a_write_waits_for_them() {
    let place = Place::new();
    let storage = place.open().await;
    let mut foreign = storage.foreign_removals();
    let mut other = place.connect().await;
    let notice = async {
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
    };
    in_time(notice).await;
}

/// A trigger of ours refuses one report; those of others, gathered into the same transaction, are recorded.
#[tokio::test]
async fn a_report_that_fails_takes_no_other_with_it() {
    const TASKS: [&str; 5] = ["first", "t1", "bad", "t2", "t3"];
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
    // While another process holds the lock, all gather: each is in the queue once it was polled.
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let mut reports = TASKS.map(|taskhash| storage.report(vec![report(taskhash, taskhash, 1)]));
    for report in &mut reports {
        assert!(report.now_or_never().is_none());
    }
    other.execute("COMMIT").await.unwrap();
    let results = in_time(futures_util::future::join_all(reports)).await;
    for (taskhash, result) in TASKS.into_iter().zip(results) {
        match taskhash {
            "bad" => assert!(matches!(result, Err(StorageError::Backend(_))), "{result:?}"),
            _ => assert_eq!(result.unwrap(), [Unihash::from([1; 32])]),
        }
    }
    let found = storage.unihashes(&TASKS.map(task)).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true, true]);
}

/// More of them than there are connections that read rows.
#[tokio::test]
async fn logins_do_not_wait_for_those_who_read_rows() {
    let place = Place::new();
    let storage = place.open().await;
    let mut sent = report("t1", "o1", 1);
    sent.details.outhash_siginfo = Some("x".repeat(8 << 20));
    storage.report(vec![sent]).await.unwrap();
    storage.user("u").await.unwrap();
    let mut rows = futures_util::stream::FuturesUnordered::new();
    for _ in 0..24 {
        rows.push(storage.task_row(task("t1")));
    }
    // All of them wait before the login comes.
    assert!(rows.next().now_or_never().is_none());
    let mut login = Box::pin(storage.user("u"));
    let mut answered = 0;
    let login = async {
        loop {
            tokio::select! {
                biased;
                login = &mut login => return login,
                row = rows.next() => {
                    row.expect("the login comes before the last row").unwrap();
                    answered += 1;
                }
            }
        }
    };
    assert_eq!(in_time(login).await.unwrap(), None);
    assert!(answered < 12, "{answered} rows were read before the login");
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
