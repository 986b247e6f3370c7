//! What is asked of an upstream, and what is kept.

use std::sync::Arc;

use async_trait::async_trait;
use hashserv_log::CapturedLog;
use hashserv_service::{Service, ServiceOptions, Unavailable, Upstream};
use hashserv_storage::{OuthashKey, Storage, TaskKey, UnifiedRow, Unihash};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tracing::Level;

use crate::fake::FakeUpstream;
use crate::hindered::hindered;
use crate::scripted::{Answer, Scripted};
use crate::support::{self, GENEROUS_TIMEOUT, SHORT_TIMEOUT, hash, report, storage, unihash, upstream};

async fn service(upstream: &Arc<Scripted>) -> (Service, Arc<dyn Storage>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let storage = storage(directory.path()).await;
    let service = Service::new(storage.clone(), Some(upstream.clone()), &ServiceOptions::default());
    (service, storage, directory)
}

#[tokio::test]
async fn what_is_unknown_upstream_is_asked_once_in_a_while() {
    let upstream = Scripted::new(Answer::Unknown);
    let (service, _, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    let taskhash = hash(1);
    let key = TaskKey { method: "m", taskhash: &taskhash };
    let outhash = OuthashKey { method: "m", outhash: &taskhash };
    for _ in 0..3 {
        assert_eq!(equivalence.unihashes(&[key]).await.unwrap(), [None]);
        assert_eq!(equivalence.unihash(key).await.unwrap(), None);
        assert_eq!(equivalence.unihashes_exist(&[unihash(1)]).await.unwrap(), [false]);
        assert!(equivalence.task_row(key).await.unwrap().is_none());
        assert!(equivalence.outhash_row(outhash, &taskhash).await.unwrap().is_none());
    }
    assert_eq!(upstream.asked(), 3 + 3, "once for each kind of question, but every time for the output");
}

#[tokio::test]
async fn what_the_upstream_did_not_answer_is_asked_again() {
    let upstream = Scripted::new(Answer::Unavailable);
    let (service, _, _directory) = service(&upstream).await;
    let taskhash = hash(1);
    for _ in 0..3 {
        let key = TaskKey { method: "m", taskhash: &taskhash };
        assert_eq!(service.equivalence().unihashes(&[key]).await.unwrap(), [None]);
    }
    assert_eq!(upstream.asked(), 3);
}

#[tokio::test]
async fn what_was_reported_here_meanwhile_counts_though_it_was_unknown_upstream() {
    let upstream = Scripted::new(Answer::Unknown);
    let (service, _, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    let taskhash = hash(1);
    let key = TaskKey { method: "m", taskhash: &taskhash };
    assert_eq!(equivalence.unihashes(&[key]).await.unwrap(), [None]);
    equivalence.report(vec![report(1, 10)]).await.unwrap();
    assert_eq!(equivalence.unihashes(&[key]).await.unwrap(), [Some(unihash(1))]);
}

#[tokio::test]
async fn unihashes_are_kept_in_the_background_and_rows_at_once() {
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let (service, storage, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    let (one, two, three) = (hash(1), hash(2), hash(3));
    let [one, two, three] = [&one, &two, &three].map(|taskhash| TaskKey { method: "m", taskhash });
    assert_eq!(equivalence.unihashes(&[one]).await.unwrap(), [Some(unihash(5))]);
    equivalence.wait_for_backfill().await;
    assert_eq!(equivalence.pending_backfill(), 0);
    assert_eq!(equivalence.unihash(two).await.unwrap(), Some(unihash(5)));
    let row = equivalence.task_row(three).await.unwrap().unwrap();
    assert_eq!((row.unihash, row.report.details.pn.as_deref()), (unihash(5), Some("gcc")));
    assert_eq!(
        storage.unihashes(&[one, two, three]).await.unwrap(),
        [const { None::<Unihash> }; 3].map(|_| Some(unihash(5)))
    );
    assert!(storage.task_row(three).await.unwrap().is_some());
}

#[tokio::test]
async fn existence_is_not_kept() {
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let (service, storage, _directory) = service(&upstream).await;
    assert_eq!(service.equivalence().unihashes_exist(&[unihash(5)]).await.unwrap(), [true]);
    assert_eq!(storage.unihashes_exist(&[unihash(5)]).await.unwrap(), [false]);
}

#[tokio::test]
async fn a_unihash_that_is_not_valid_is_neither_passed_on_nor_kept() {
    let upstream = Scripted::new(Answer::Unihash(Unihash::from_stored("${@os.system('x')}")));
    let (service, storage, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    let taskhash = hash(1);
    let key = TaskKey { method: "m", taskhash: &taskhash };
    assert_eq!(equivalence.unihashes(&[key]).await.unwrap(), [None]);
    assert!(equivalence.task_row(key).await.unwrap().is_none());
    assert_eq!(equivalence.report(vec![report(2, 20)]).await.unwrap(), [unihash(2)]);
    equivalence.wait_for_backfill().await;
    assert_eq!(storage.unihashes(&[key]).await.unwrap(), [None]);
}

#[tokio::test]
async fn invalid_unihashes_among_good_ones_are_unknown_and_do_not_flood_the_log() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            peer.taskhashes(4).await;
            for reply in [&hash(1), "${@bb.fatal('x y')}", "abc", &hash(3)] {
                peer.answer(reply).await;
            }
            peer.silence().await;
        })
    })
    .await;
    let (service, _directory) =
        support::service(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let taskhashes = [1, 2, 3, 4].map(hash);
    let keys: Vec<_> = taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    let found = service.equivalence().unihashes(&keys).await.unwrap();
    assert_eq!(found, [Some(unihash(1)), None, None, Some(unihash(3))]);
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("no valid unihash"), "{warnings:?}");
}

#[tokio::test]
async fn what_cannot_be_kept_is_answered_all_the_same_but_no_report_is() {
    let log = CapturedLog::start();
    let directory = tempfile::tempdir().unwrap();
    let storage = hindered(directory.path()).await;
    storage.hindrance().fill_up();
    storage.hindrance().let_through(1000);
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let service = Service::new(storage, Some(upstream), &ServiceOptions::default());
    let equivalence = service.equivalence();
    let taskhash = hash(1);
    let key = TaskKey { method: "m", taskhash: &taskhash };
    let outhash = OuthashKey { method: "m", outhash: &taskhash };
    assert_eq!(equivalence.unihash(key).await.unwrap(), Some(unihash(5)));
    assert_eq!(equivalence.task_row(key).await.unwrap().unwrap().unihash, unihash(5));
    assert_eq!(equivalence.outhash_row(outhash, &taskhash).await.unwrap().unwrap().unihash, unihash(5));
    assert!(equivalence.report(vec![report(1, 10)]).await.is_err());
    let warnings = log.lines(Level::WARN);
    assert!(
        warnings.len() == 1 && warnings[0].ends_with("the database failed: no space left"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_row_that_no_database_takes_counts_as_unknown() {
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let (service, storage, _directory) = service(&upstream).await;
    let (one, outhash) = (hash(1), OuthashKey { method: "m", outhash: "a\0b" });
    assert!(service.equivalence().outhash_row(outhash, &one).await.unwrap().is_none());
    assert!(storage.outhash_row(outhash).await.unwrap().is_none());
}

#[tokio::test]
async fn report_finds_what_the_upstream_did_not_know_a_moment_ago() {
    let upstream = Scripted::new(Answer::Unknown);
    let (service, storage, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    let (output, task) = (hash(10), hash(1));
    let output = OuthashKey { method: "m", outhash: &output };
    assert_eq!(equivalence.report(vec![report(2, 20)]).await.unwrap(), [unihash(2)]);
    assert!(equivalence.outhash_row(output, &task).await.unwrap().is_none());
    upstream.set(Answer::Unihash(unihash(5)));
    assert_eq!(equivalence.report(vec![report(1, 10)]).await.unwrap(), [unihash(5)]);
    // Without a unihash too.
    let (other, task) = (hash(30), hash(3));
    let other = OuthashKey { method: "m", outhash: &other };
    let row = equivalence.outhash_row_alone(other, &task).await.unwrap().unwrap();
    assert_eq!(row.outhash, hash(30));
    assert_eq!(storage.unified_outhash_row(other).await.unwrap().unwrap().unihash, unihash(5));
}

#[tokio::test]
async fn look_ups_are_answered_in_time_while_the_database_does_not_write() {
    let directory = tempfile::tempdir().unwrap();
    let storage = hindered(directory.path()).await;
    let upstream = Scripted::with_timeout(Answer::Unihash(unihash(5)), SHORT_TIMEOUT);
    let service = Service::new(storage.clone(), Some(upstream), &ServiceOptions::default());
    let equivalence = service.equivalence();
    let hashes = [1, 2, 30, 40].map(hash);
    let [one, two] = [0, 1].map(|number| TaskKey { method: "m", taskhash: &hashes[number] });
    let [three, four] = [2, 3].map(|number| OuthashKey { method: "m", outhash: &hashes[number] });
    let asking = async {
        assert_eq!(equivalence.unihash(one).await.unwrap(), Some(unihash(5)));
        assert_eq!(equivalence.task_row(two).await.unwrap().unwrap().unihash, unihash(5));
        assert_eq!(equivalence.outhash_row(three, &hashes[0]).await.unwrap().unwrap().unihash, unihash(5));
        assert_eq!(equivalence.outhash_row_alone(four, &hashes[0]).await.unwrap().unwrap().outhash, hash(40));
    };
    tokio::time::timeout(GENEROUS_TIMEOUT, asking).await.expect("the database is not waited for");
    assert_eq!(equivalence.pending_backfill(), 4);
    storage.hindrance().let_through(1000);
    equivalence.wait_for_backfill().await;
    assert_eq!(storage.unihashes(&[one]).await.unwrap(), [Some(unihash(5))]);
    assert!(storage.task_row(two).await.unwrap().is_some());
    assert!(storage.unified_outhash_row(three).await.unwrap().is_some());
    assert!(storage.outhash_row(four).await.unwrap().is_some());
}

#[tokio::test]
async fn hash_that_no_database_indexes_is_answered_and_neither_kept_nor_a_harm_to_others() {
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let (service, storage, _directory) = service(&upstream).await;
    let (good, long) = (hash(1), "x".repeat(5000));
    let keys = [&good, &long].map(|taskhash| TaskKey { method: "m", taskhash });
    assert_eq!(service.equivalence().unihashes(&keys).await.unwrap(), [5, 5].map(|n| Some(unihash(n))));
    let output = OuthashKey { method: "m", outhash: &long };
    assert!(service.equivalence().outhash_row(output, &good).await.unwrap().is_none());
    service.equivalence().wait_for_backfill().await;
    assert_eq!(storage.unihashes(&keys).await.unwrap(), [Some(unihash(5)), None]);
    assert_eq!(service.equivalence().lost_backfill(), 1);
}

#[tokio::test]
async fn only_an_output_that_is_new_here_is_asked_for() {
    let upstream = Scripted::new(Answer::Unihash(unihash(5)));
    let (service, _, _directory) = service(&upstream).await;
    let equivalence = service.equivalence();
    assert_eq!(equivalence.report(vec![report(1, 10)]).await.unwrap(), [unihash(5)]);
    assert_eq!(upstream.asked(), 1);
    let again = vec![report(1, 10), report(1, 11), report(2, 10)];
    assert_eq!(equivalence.report(again).await.unwrap(), [unihash(5), unihash(5), unihash(5)]);
    assert_eq!(upstream.asked(), 1, "the task is known, or its output is");
}

/// An upstream that answers when all of a number of questions are asked.
#[derive(Debug)]
struct Together {
    arrived: Semaphore,
    expected: u32,
}

#[async_trait]
impl Upstream for Together {
    async fn unihashes(&self, keys: &[TaskKey<'_>]) -> Vec<Result<Option<Unihash>, Unavailable>> {
        vec![Err(Unavailable); keys.len()]
    }

    async fn unihashes_exist(&self, unihashes: &[Unihash]) -> Vec<Result<bool, Unavailable>> {
        vec![Err(Unavailable); unihashes.len()]
    }

    async fn task_row(&self, _: TaskKey<'_>) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        Err(Unavailable)
    }

    async fn outhash_row(&self, _: OuthashKey<'_>, _: &str) -> Result<Option<Arc<UnifiedRow>>, Unavailable> {
        self.arrived.add_permits(1);
        let _all = self.arrived.acquire_many(self.expected).await.unwrap();
        Ok(None)
    }

    async fn close(&self) {}
}

#[tokio::test]
async fn reports_that_are_recorded_together_ask_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let upstream = Arc::new(Together { arrived: Semaphore::new(0), expected: 50 });
    let storage = storage(directory.path()).await;
    let service = Service::new(storage, Some(upstream), &ServiceOptions::default());
    let reports: Vec<_> = (0..50).map(|number| report(number, 100 + number)).collect();
    let answered = service.equivalence().answer_reports(&reports).await.unwrap();
    assert_eq!(answered, (0..50).map(unihash).collect::<Vec<_>>());
}
