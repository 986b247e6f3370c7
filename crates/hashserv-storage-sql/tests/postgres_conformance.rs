//! PostgreSQL keeps the contract of storage.
#![cfg(feature = "postgres")]

use std::sync::Arc;

use async_trait::async_trait;
use hashserv_storage::Storage;
use hashserv_storage::conformance::TestDatabase;
use hashserv_storage_sql::{Options, PostgresStorage};
use hashserv_test_postgres::Database;

struct OwnDatabase(Database);

#[async_trait]
impl TestDatabase for OwnDatabase {
    async fn open(&self) -> Arc<dyn Storage> {
        let options = Options { pool_size: 5, ..Options::default() };
        Arc::new(PostgresStorage::open(self.0.url(), &options).await.expect("the database opens"))
    }
}

hashserv_storage::conformance_tests!(match hashserv_test_postgres::database() {
    Some(database) => OwnDatabase(database),
    None => return Ok(()),
});
