//! Limits of calls that wait for the database and for the upstream, one after the other.

#![allow(clippy::unwrap_used, reason = "in a test it is an assertion")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hashserv_service::{Failure, Service, ServiceError, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::hindered::{Hindered, Hindrance, Kind};
use hashserv_storage::{Details, OuthashKey, Report, StorageError, TaskKey, Timestamp, UnifiedRow, Unihash};
use hashserv_storage_sql::{DatabaseName, Options, open};
use tokio::time::{Instant, sleep};

/// Time after which clients give up.
const CLIENT_LIMIT: Duration = Duration::from_secs(30);

/// Each part of a slow call keeps its own limit.
const SLOW: Duration = Duration::from_secs(19);

/// A database that is slow to write.
#[derive(Debug)]
struct SlowToWrite;

impl Hindrance for SlowToWrite {
    async fn pass(&self, kind: Kind) -> Result<(), StorageError> {
        if kind == Kind::Write {
            sleep(SLOW).await;
        }
        Ok(())
    }
}

/// An upstream that knows nothing, slowly.
#[derive(Debug)]
struct SlowUpstream;

#[async_trait]
impl Upstream for SlowUpstream {
    fn timeout(&self) -> Duration {
        2 * SLOW
    }

    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        sleep(2 * SLOW).await;
        vec![Ok(None); keys.len()]
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        sleep(2 * SLOW).await;
        vec![Ok(false); unihashes.len()]
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        sleep(2 * SLOW).await;
        Ok(None)
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        sleep(SLOW).await;
        Ok(None)
    }

    async fn close(&self) {}
}

async fn slow_service(directory: &tempfile::TempDir) -> Service {
    let name = DatabaseName::sqlite(directory.path().join("hashserv.db"));
    let storage = open(&name, &Options::default()).await.unwrap();
    tokio::time::pause();
    let storage = Arc::new(Hindered::new(storage, SlowToWrite));
    Service::new(storage, Some(Arc::new(SlowUpstream)), &ServiceOptions::default())
}

#[tokio::test]
async fn report_that_waits_for_upstream_and_database_ends_before_clients_give_up() {
    let directory = tempfile::tempdir().unwrap();
    let service = slow_service(&directory).await;
    let report = Report {
        method: "m".to_owned(),
        taskhash: "t".to_owned(),
        outhash: "o".to_owned(),
        unihash: [1; 32].into(),
        created: Timestamp::now(),
        details: Details::default(),
    };
    let called = Instant::now();
    let result = service.equivalence().report(vec![report]).await;
    assert!(called.elapsed() < CLIENT_LIMIT, "{:?}", called.elapsed());
    let is_late = matches!(result, Err(ServiceError::Failed(Failure::Storage(StorageError::Timeout(_)))));
    assert!(is_late, "{result:?}");
}
