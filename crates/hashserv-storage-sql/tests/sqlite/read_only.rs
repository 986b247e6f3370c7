//! Databases that are only read.

use hashserv_log::one_line;
use hashserv_storage::{Conditions, MarkRequest, NewUser, Storage, StorageError, Unihash};

use super::support::{Place, in_time, report, task};

async fn assert_refuses_writes(storage: &dyn Storage) {
    fn assert_read_only<T: std::fmt::Debug>(result: Result<T, StorageError>) {
        assert!(matches!(result, Err(StorageError::ReadOnly)), "{result:?}");
    }
    let user = || NewUser { name: "u".to_owned(), token_hash: String::new(), permissions: String::new() };
    let mark = MarkRequest { mark: "m".to_owned(), conditions: Conditions::default() };
    assert_read_only(storage.report(vec![report("t", "o", 1)]).await);
    assert_read_only(storage.record_unihashes(Vec::new()).await);
    assert_read_only(storage.remove(&Conditions::default()).await);
    assert_read_only(storage.clean_unused(None).await);
    assert_read_only(storage.mark(vec![mark]).await);
    assert_read_only(storage.sweep("").await);
    assert_read_only(storage.create_user(user()).await);
    assert_read_only(storage.put_user(user()).await);
    assert_read_only(storage.set_permissions(1, "").await);
    assert_read_only(storage.set_token(1, "").await);
    assert_read_only(storage.delete_user(1).await);
}

#[tokio::test]
async fn a_read_only_storage_sees_what_others_commit() {
    let place = Place::new();
    let writer = place.open().await;
    let reader = place.open_read_only().await;
    let mut removals = reader.foreign_removals();
    for number in 1..10 {
        let taskhash = format!("t{number}");
        removals.mark_unchanged();
        writer.report(vec![report(&taskhash, &taskhash, number)]).await.unwrap();
        let found = reader.unihashes(&[task(&taskhash)]).await.unwrap();
        assert_eq!(found, [Some(Unihash::from([number; 32]))]);
        in_time(removals.changed()).await.unwrap();
    }
    assert_refuses_writes(&*reader).await;
    assert_eq!(reader.usage().await.unwrap()[0].rows, 9);
    reader.close().await;
    assert!(matches!(reader.unihashes(&[task("t1")]).await, Err(StorageError::Closed)));
}

/// The database is as the writer left it when it was closed: in WAL mode, without the files of that mode.
#[tokio::test]
async fn a_closed_database_is_read_and_then_written_again() {
    let place = Place::new();
    place.open().await.close().await;
    assert!(!place.beside("-wal").exists());
    let reader = place.open_read_only().await;
    assert_eq!(reader.unihashes(&[task("t1")]).await.unwrap(), [None]);
    let writer = place.open().await;
    writer.report(vec![report("t1", "o1", 1)]).await.unwrap();
    assert_eq!(reader.unihashes(&[task("t1")]).await.unwrap(), [Some(Unihash::from([1; 32]))]);
}

#[tokio::test]
async fn the_database_of_another_server_is_read_as_it_is() {
    let place = Place::with_copy_of("reference-v3.db");
    let before = std::fs::read(place.path()).unwrap();
    let storage = place.open_read_only().await;
    assert_eq!(storage.usage().await.unwrap()[0].rows, 64);
    storage.close().await;
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

/// A directory in the place of a file that SQLite wants to make is an obstacle even for root, whom the
/// rights of a directory would not stop.
#[tokio::test]
async fn a_database_is_read_where_no_files_can_be_made_beside_it() {
    let place = Place::new();
    let storage = place.open().await;
    storage.report(vec![report("t1", "o1", 1)]).await.unwrap();
    storage.close().await;
    std::fs::create_dir(place.beside("-wal")).unwrap();
    std::fs::create_dir(place.beside("-shm")).unwrap();
    let storage = place.open_read_only().await;
    assert_eq!(storage.unihashes(&[task("t1")]).await.unwrap(), [Some(Unihash::from([1; 32]))]);
    assert!(storage.task_row(task("t1")).await.unwrap().is_some());
    assert_eq!(storage.gc_status().await.unwrap().keep, 1);
    assert_refuses_writes(&*storage).await;
    storage.close().await;
}

#[tokio::test]
async fn what_is_missing_is_said_with_what_to_do() {
    let missing = Place::new();
    let error = one_line(&missing.try_open(true).await.unwrap_err());
    assert!(error.contains("hashserv.db") && error.contains("does not exist"), "{error}");
    assert!(!missing.path().exists(), "nothing was created");

    let old = Place::with_copy_of("reference-v2.db");
    let error = one_line(&old.try_open(true).await.unwrap_err());
    assert!(error.contains("no table unihashes_v3") && error.contains("open it once for writing"), "{error}");

    let nonsense = Place::new();
    std::fs::write(nonsense.path(), "this is no database, and long enough to be sure of it ".repeat(100))
        .unwrap();
    for read_only in [true, false] {
        let error = one_line(&nonsense.try_open(read_only).await.unwrap_err());
        assert!(error.contains("hashserv.db") && error.contains("not a database"), "{error}");
    }
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_said_so() {
    let place = Place::new();
    std::fs::create_dir(place.path()).unwrap();
    let error = one_line(&place.try_open(false).await.unwrap_err());
    assert!(error.contains("cannot be written"), "{error}");
}
