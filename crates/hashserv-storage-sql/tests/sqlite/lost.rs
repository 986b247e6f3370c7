//! Database files that are deleted or replaced while they are in use.

use futures_util::FutureExt as _;
use hashserv_storage::{Storage, StorageError, Unihash};

use sqlx::Executor as _;

use super::support::{Place, in_time, report, task};

/// Names that are deleted or replaced together.
const LOG_FILES: [&[&str]; 3] = [&["-wal", "-shm"], &["-wal"], &["-shm"]];

/// Reports until that fails; returns how many were acknowledged.
async fn report_until_lost(storage: &dyn Storage, first: usize) -> usize {
    for number in first.. {
        let name = format!("t{number}");
        match storage.report(vec![report(&name, &name, 1)]).await {
            Ok(_) => {}
            Err(StorageError::Lost) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the loss is never noticed")
}

async fn assert_lost(storage: &dyn Storage) {
    in_time(storage.lost()).await;
    let result = storage.report(vec![report("late", "late", 1)]).await;
    assert!(matches!(result, Err(StorageError::Lost)), "{result:?}");
}

#[tokio::test]
async fn deleted_database_is_lost() {
    let place = Place::new();
    let storage = place.open().await;
    storage.report(vec![report("t1", "o1", 1)]).await.unwrap();
    std::fs::remove_file(place.path()).unwrap();
    assert_lost(&*storage).await;
    in_time(storage.close()).await;
}

/// The log of the database that was there would be taken for that of the new one.
#[tokio::test]
async fn database_that_replaces_another_is_not_spoilt() {
    let (place, new) = (Place::new(), Place::new());
    let storage = new.open().await;
    storage.report(vec![report("new", "new", 2)]).await.unwrap();
    storage.close().await;

    let storage = place.open().await;
    let old = |number| report(&format!("old{number}"), "old", 1);
    storage.report((0..500).map(old).collect()).await.unwrap();
    std::fs::rename(new.path(), place.path()).unwrap();
    assert_lost(&*storage).await;
    drop(storage);

    let storage = place.open().await;
    let found = storage.unihashes(&[task("new"), task("old0")]).await.unwrap();
    assert_eq!(found, [Some(Unihash::from([2; 32])), None]);
    assert_eq!(place.query("PRAGMA integrity_check").await, ["ok"]);
    assert!(place.beside("-wal.lost").exists(), "the log can still be had");
}

#[tokio::test]
async fn replaced_database_is_lost_to_those_who_read_it() {
    let (place, new) = (Place::new(), Place::new());
    new.open().await.close().await;
    place.open().await.close().await;
    let storage = place.open_read_only().await;
    std::fs::rename(new.path(), place.path()).unwrap();
    in_time(storage.lost()).await;
}

#[tokio::test]
async fn database_with_another_name_beside_it_is_not_lost() {
    let place = Place::new();
    let storage = place.open().await;
    std::fs::hard_link(place.path(), place.beside(".link")).unwrap();
    for number in 0..20 {
        let taskhash = format!("t{number}");
        storage.report(vec![report(&taskhash, &taskhash, number)]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    assert!(storage.lost().now_or_never().is_none());
}

#[tokio::test]
async fn what_a_deleted_log_holds_is_saved() {
    for files in LOG_FILES {
        let (place, copy) = (Place::new(), Place::new());
        let storage = place.open().await;
        storage.report((0..100).map(|number| report(&format!("t{number}"), "o", 1)).collect()).await.unwrap();
        for file in files {
            std::fs::remove_file(place.beside(file)).unwrap();
        }
        let acknowledged = in_time(report_until_lost(&*storage, 100)).await;
        assert_lost(&*storage).await;
        in_time(storage.close()).await;

        // The file alone, as a process that starts after the end of this one has it.
        std::fs::copy(place.path(), copy.path()).unwrap();
        let storage = copy.open().await;
        for number in 0..acknowledged {
            let taskhash = format!("t{number}");
            assert!(
                storage.unihashes(&[task(&taskhash)]).await.unwrap()[0].is_some(),
                "{files:?}: {taskhash}"
            );
        }
        assert_eq!(copy.query("PRAGMA integrity_check").await, ["ok"]);
    }
}

/// Whoever made another one may have written pages that must not be overwritten.
#[tokio::test]
async fn database_is_left_alone_once_another_has_a_new_log() {
    for files in LOG_FILES {
        let place = Place::new();
        let storage = place.open().await;
        storage.report((0..500).map(|number| report(&format!("t{number}"), "o", 1)).collect()).await.unwrap();
        let length = || std::fs::metadata(place.path()).unwrap().len();
        let before = length();
        for file in files {
            std::fs::write(place.beside(".new"), "theirs").unwrap();
            std::fs::rename(place.beside(".new"), place.beside(file)).unwrap();
        }
        assert_lost(&*storage).await;
        in_time(storage.close()).await;
        assert_eq!(length(), before, "{files:?}");
        for file in files {
            assert_eq!(std::fs::read(place.beside(file)).unwrap(), b"theirs");
        }
    }
}

#[tokio::test]
async fn deleted_log_is_lost_to_those_who_read() {
    let place = Place::new();
    place.open().await.close().await;
    let storage = place.open_read_only().await;
    std::fs::remove_file(place.beside("-wal")).unwrap();
    in_time(storage.lost()).await;
}

#[tokio::test]
async fn log_that_others_make_and_delete_is_no_loss() {
    let (logged, plain) = (Place::new(), Place::new());
    plain.open().await.close().await;
    plain.query("PRAGMA journal_mode=DELETE").await;
    let storages = [logged.open().await, plain.open_read_only().await];
    for number in 0..20 {
        for place in [&logged, &plain] {
            let mut other = place.connect().await;
            other.execute("PRAGMA journal_mode=WAL").await.unwrap();
            other.execute("INSERT INTO config (name) VALUES (random())").await.unwrap();
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.unwrap();
            sqlx::Connection::close(other).await.unwrap();
        }
        let taskhash = format!("t{number}");
        storages[0].report(vec![report(&taskhash, &taskhash, number)]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    for storage in storages {
        assert!(storage.lost().now_or_never().is_none());
    }
}
