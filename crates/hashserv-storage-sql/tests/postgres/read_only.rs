//! Databases that can only be read.

use std::time::Duration;

use hashserv_storage::{Storage, StorageError};
use hashserv_storage_sql::{Credentials, Options};
use hashserv_test_postgres::{Cluster, Setup};
use tokio::time::timeout;

use super::support::{database_or_skip, open, report, report_one, small, task, try_open, unihash};

async fn assert_read_only(storage: &dyn Storage) {
    let refused = |result: Result<(), StorageError>| {
        assert!(matches!(result, Err(StorageError::ReadOnly)), "{result:?}");
    };
    refused(storage.report(vec![report("t2", "o2", 2)]).await.map(drop));
    refused(storage.set_token(1, "t").await.map(drop));
    let mark = hashserv_storage::MarkRequest { mark: "m".to_owned(), conditions: Default::default() };
    refused(storage.mark(vec![mark]).await.map(drop));
    let conditions = [(hashserv_storage::Column::Taskhash, "t".to_owned())].into_iter().collect();
    refused(storage.remove(&conditions).await.map(drop));
    let found = storage.unihashes(&[task("t")]).await.expect("reading goes on");
    assert_eq!(found, [Some(unihash(1))]);
}

#[tokio::test]
async fn a_storage_opened_to_be_read_refuses_writes() {
    let database = database_or_skip!();
    report_one(&*open(database.url()).await, "t", 1).await.unwrap();
    let storage = try_open(database.url(), &read_only()).await.unwrap();
    assert_read_only(&*storage).await;
}

#[tokio::test]
async fn a_database_that_allows_no_writes_is_read() {
    let database = database_or_skip!();
    report_one(&*open(database.url()).await, "t", 1).await.unwrap();
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    assert_read_only(&*open(database.url()).await).await;
}

fn read_only() -> Options {
    Options { read_only: true, ..small() }
}

/// The error of a database that is not opened.
async fn refusal(url: &str, options: &Options) -> String {
    let error = try_open(url, options).await.expect_err("it is refused");
    let StorageError::Open { source, .. } = &error else { panic!("{error:?}") };
    source.to_string()
}

#[tokio::test]
async fn empty_database_that_is_opened_to_be_read_gets_its_tables() {
    let database = database_or_skip!();
    let storage = try_open(database.url(), &read_only()).await.unwrap();
    assert_eq!(storage.unihashes(&[task("t")]).await.unwrap(), [None]);
    report_one(&*open(database.url()).await, "t", 1).await.unwrap();
    assert_read_only(&*storage).await;
}

#[tokio::test]
async fn empty_database_that_takes_no_writes_is_refused() {
    let database = database_or_skip!();
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    for options in [small(), read_only()] {
        let refusal = refusal(database.url(), &options).await;
        assert!(refusal.starts_with("it has no table unihashes_v3, outhashes_v2"), "{refusal}");
        assert!(refusal.contains("takes no writes (a standby, or"), "{refusal}");
    }
}

#[tokio::test]
async fn empty_database_of_a_user_without_rights_is_refused() {
    let database = database_or_skip!();
    let role = format!("{}_reader", database.name());
    database
        .run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"));
    let credentials = Credentials { username: Some(role.clone()), password: Some("pw".to_owned().into()) };
    for options in [small(), read_only()] {
        let options = Options { credentials: credentials.clone(), ..options };
        let refusal = refusal(database.url(), &options).await;
        assert!(refusal.starts_with("it has no table unihashes_v3, outhashes_v2"), "{refusal}");
        assert!(refusal.contains("permission denied for schema public"), "{refusal}");
    }
    database.run(&format!("DROP ROLE {role}"));
}

#[tokio::test]
async fn a_hot_standby_is_read_until_it_is_promoted() {
    if hashserv_test_postgres::is_skipped() {
        return;
    }
    let primary = Cluster::start(&Setup::default());
    let on_primary = open(&primary.url("postgres")).await;
    report_one(&*on_primary, "t", 1).await.unwrap();
    let standby = primary.start_standby();
    let on_standby = open(&standby.url("postgres")).await;
    assert_read_only(&*on_standby).await;
    report_one(&*on_primary, "later", 3).await.unwrap();
    let arrival = async {
        while on_standby.unihashes(&[task("later")]).await.unwrap() != [Some(unihash(3))] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), arrival).await.expect("it is replicated");
    let mut removals = on_standby.foreign_removals();
    removals.mark_unchanged();
    timeout(Duration::from_secs(60), removals.changed()).await.expect("removals are assumed").unwrap();
    drop(primary);
    standby.promote();
    report_one(&*on_standby, "promoted", 4).await.unwrap();
}
