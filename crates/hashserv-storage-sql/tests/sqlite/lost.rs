//! Database files that are deleted or replaced while they are in use.

use futures_util::FutureExt as _;
use hashserv_storage::{Storage, StorageError, Unihash};

use super::support::{Place, in_time, report, task};

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
