//! The index of our own.

use std::time::Duration;

use hashserv_storage::Storage as _;
use hashserv_test_postgres::Database;
use tokio::time::{sleep, timeout};

use super::support::{METHOD, database_or_skip, open, report_one};

const PATIENCE: Duration = Duration::from_secs(60);
const INDEX: &str = "hashserv_outhash_created_v1";

async fn valid_index(database: &Database) {
    let valid = format!("SELECT i.indisvalid FROM pg_index AS i WHERE i.indexrelid = to_regclass('{INDEX}')");
    let created = async {
        while database.run(&valid) != "t\n" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, created).await.expect("the index is created");
}

/// Makes a database as one of BitBake's server, with a report.
async fn used_database(database: &Database) {
    let storage = open(database.url()).await;
    report_one(&*storage, "t", 1).await.expect("it is recorded");
    storage.close().await;
    database.run(&format!("DROP INDEX {INDEX}"));
}

#[tokio::test]
async fn database_that_is_used_gets_the_index_while_reports_go_on() {
    let database = database_or_skip!();
    used_database(&database).await;
    // The creation waits for this transaction, and others write meanwhile.
    let held = database.hold("INSERT INTO outhashes_v2 (method, taskhash, outhash) VALUES ('m', 'x', 'x')");
    let storage = open(database.url()).await;
    let started = async {
        while database.run(&format!("SELECT to_regclass('{INDEX}') IS NULL")) == "t\n" {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, started).await.expect("the creation starts");
    report_one(&*storage, "t2", 2).await.unwrap();
    drop(held);
    valid_index(&database).await;
}

#[tokio::test]
async fn incomplete_index_is_replaced() {
    let database = database_or_skip!();
    used_database(&database).await;
    // A duplicate makes the creation fail, which leaves the index behind.
    database.run(&format!(
        "INSERT INTO outhashes_v2 (method, taskhash, outhash) VALUES ('{METHOD}', 'a', 'o'), ('{METHOD}', 'b', 'o')"
    ));
    let created = std::panic::catch_unwind(|| {
        database.run(&format!("CREATE UNIQUE INDEX CONCURRENTLY {INDEX} ON outhashes_v2 (method, outhash)"))
    });
    assert!(created.is_err(), "it finds duplicates");
    let _storage = open(database.url()).await;
    valid_index(&database).await;
    let definition = database.run(&format!("SELECT pg_get_indexdef('{INDEX}'::regclass)"));
    assert!(definition.ends_with("(method, outhash, created, id)\n"), "{definition}");
}
