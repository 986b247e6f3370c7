//! A storage of one's own: run it with `cargo run -p hashserv-storage --example memory`.
//!
//! `storage.rs` beside this file implements the trait; `tests/memory.rs` runs the conformance suite over it.

mod storage;

use hashserv_storage::{Details, Report, Storage, StorageError, Timestamp, Unihash};

use crate::storage::MemoryDatabase;

/// Two tasks with the same output end with one unihash.
#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "it is a program")]
async fn main() -> Result<(), StorageError> {
    let storage = MemoryDatabase::default().open();
    for (taskhash, byte) in [("first", 1), ("second", 2)] {
        let report = Report {
            method: "example".to_owned(),
            taskhash: taskhash.to_owned(),
            outhash: "output".to_owned(),
            unihash: Unihash::from([byte; 32]),
            created: Timestamp::now(),
            details: Details::default(),
        };
        println!("{taskhash}: {}", storage.report(vec![report]).await?[0]);
    }
    storage.close().await;
    Ok(())
}
