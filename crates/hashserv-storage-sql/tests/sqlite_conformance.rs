//! SQLite keeps the contract of storage.
#![cfg(feature = "sqlite")]

use std::sync::Arc;

use async_trait::async_trait;
use hashserv_storage::Storage;
use hashserv_storage::conformance::TestDatabase;
use hashserv_storage_sql::{DatabaseName, Options};
use tempfile::TempDir;

struct TempDatabase(TempDir);

impl TempDatabase {
    fn new() -> Self {
        TempDatabase(TempDir::new().expect("a directory can be made"))
    }
}

#[async_trait]
impl TestDatabase for TempDatabase {
    async fn open(&self) -> Arc<dyn Storage> {
        let name = DatabaseName::sqlite(self.0.path().join("hashserv.db"));
        hashserv_storage_sql::open(&name, &Options::default()).await.expect("the database opens")
    }
}

hashserv_storage::conformance_tests!(TempDatabase::new());
