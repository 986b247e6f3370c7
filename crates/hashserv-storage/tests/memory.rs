//! The storage of the example `memory`, which must pass what every backend must pass.

use std::sync::Arc;

use async_trait::async_trait;
use hashserv_storage::Storage;
use hashserv_storage::conformance::TestDatabase;

#[path = "../examples/memory/storage.rs"]
mod storage;

use storage::MemoryDatabase;

#[async_trait]
impl TestDatabase for MemoryDatabase {
    async fn open(&self) -> Arc<dyn Storage> {
        MemoryDatabase::open(self)
    }
}

hashserv_storage::conformance_tests!(MemoryDatabase::default());
