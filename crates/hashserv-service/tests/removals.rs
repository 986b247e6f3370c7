//! What is remembered while unihashes are removed.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::sync::Arc;

use hashserv_service::{Service, ServiceOptions};
use hashserv_storage::{Conditions, MAX_BATCH, MarkRequest, Storage, TaskKey, UnihashEntry};
use hashserv_storage_sql::{DatabaseName, Options, open};

/// A database with so many unihashes, none of which is marked to be kept.
async fn with_collection(directory: &tempfile::TempDir, mark: &str, count: usize) -> Arc<dyn Storage> {
    let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
    let storage = open(&name, &Options::default()).await.unwrap();
    let numbers: Vec<usize> = (0..count).collect();
    for numbers in numbers.chunks(MAX_BATCH) {
        let entries = numbers.iter().map(|number| UnihashEntry {
            method: "m".to_owned(),
            taskhash: format!("{number:064x}"),
            unihash: [7; 32].into(),
        });
        storage.record_unihashes(entries.collect()).await.unwrap();
    }
    let request = MarkRequest { mark: mark.to_owned(), conditions: Conditions::default() };
    storage.mark(vec![request]).await.unwrap();
    storage
}

/// The database removes chunk after chunk; memory must not know for longer what is gone with the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sweep_has_removed_is_not_told_until_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let storage = with_collection(&directory, "m", 20_000).await;
    let service = Arc::new(Service::new(Arc::clone(&storage), None, &ServiceOptions::default()));
    let taskhash = format!("{:064x}", 0);
    let first = [TaskKey { method: "m", taskhash: &taskhash }];
    assert!(service.equivalence().unihashes(&first).await.unwrap()[0].is_some());
    let sweeping = tokio::spawn({
        let service = Arc::clone(&service);
        async move { service.maintenance().sweep("m").await }
    });
    while !sweeping.is_finished() {
        let stored = storage.unihashes(&first).await.unwrap();
        let told = service.equivalence().unihashes(&first).await.unwrap();
        assert!(stored[0].is_some() || told[0].is_none(), "a unihash that is gone is told");
    }
    assert_eq!(sweeping.await.unwrap().unwrap(), 20_000);
    storage.close().await;
}
