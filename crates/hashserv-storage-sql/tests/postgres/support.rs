//! Opening databases, and what is put into them.

use std::sync::Arc;

use hashserv_storage::{Details, Report, Storage, StorageError, TaskKey, Timestamp, Unihash};
use hashserv_storage_sql::{Options, PostgresStorage};

pub(super) const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

/// Makes a database, or ends the test where those on PostgreSQL are left out.
macro_rules! database_or_skip {
    () => {
        match hashserv_test_postgres::database() {
            Some(database) => database,
            None => return,
        }
    };
}
pub(super) use database_or_skip;

pub(super) fn small() -> Options {
    Options { pool_size: 5, ..Options::default() }
}

pub(super) async fn open(url: &str) -> Arc<PostgresStorage> {
    try_open(url, &small()).await.expect("the database opens")
}

pub(super) async fn try_open(url: &str, options: &Options) -> Result<Arc<PostgresStorage>, StorageError> {
    PostgresStorage::open(url, options).await.map(Arc::new)
}

pub(super) fn task(taskhash: &str) -> TaskKey<'_> {
    TaskKey { method: METHOD, taskhash }
}

pub(super) fn unihash(number: u64) -> Unihash {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Unihash::from(bytes)
}

pub(super) fn report(taskhash: &str, outhash: &str, number: u64) -> Report {
    Report {
        method: METHOD.to_owned(),
        taskhash: taskhash.to_owned(),
        outhash: outhash.to_owned(),
        unihash: unihash(number),
        created: Timestamp::now(),
        details: Details::default(),
    }
}

/// Reports a task that nothing else is like.
pub(super) async fn report_one(storage: &dyn Storage, name: &str, number: u64) -> Result<(), StorageError> {
    let given = storage.report(vec![report(name, name, number)]).await?;
    assert_eq!(given, [unihash(number)]);
    Ok(())
}
