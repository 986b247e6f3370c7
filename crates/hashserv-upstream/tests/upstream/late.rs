//! Answers that come too late for whoever asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashserv_storage::{OuthashKey, TaskKey};
use tokio::sync::Semaphore;

use crate::fake::{FakeUpstream, Peer};
use crate::support::{SHORT_TIMEOUT, hash, report, row, service, unihash, until, upstream};

/// An upstream that answers rows and unihashes once it may, in the meantime with blanks or not at all. It counts
/// what it is asked, apart from probes.
async fn late_upstream(drips: bool) -> (FakeUpstream, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (may_answer, asked) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (gate, count) = (may_answer.clone(), asked.clone());
    let fake = FakeUpstream::start(move |_, peer| {
        let (gate, count) = (gate.clone(), count.clone());
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            let Some(mut line) = peer.line().await else { return };
            let streams = line == "{\"get-stream\":null}";
            if streams {
                peer.send("\"ok\"\n").await;
                let Some(query) = peer.query().await else { return };
                line = query;
            }
            loop {
                let is_probe = line.contains("hashserv.upstream.probe");
                if !is_probe {
                    count.fetch_add(1, Ordering::SeqCst);
                    wait(&mut peer, &gate, drips && !streams).await;
                }
                let next = if streams {
                    peer.answer(if is_probe { "" } else { line.split_once(' ').unwrap().1 }).await;
                    peer.query().await
                } else {
                    let answer = if is_probe { "null\n".to_owned() } else { row(&hash(1)) };
                    peer.send(&answer).await;
                    peer.line().await
                };
                let Some(next) = next else { return };
                line = next;
            }
        })
    })
    .await;
    (fake, may_answer, asked)
}

async fn wait(peer: &mut Peer, gate: &Semaphore, drips: bool) {
    while drips && gate.available_permits() == 0 {
        peer.send(" ").await;
        tokio::time::sleep(SHORT_TIMEOUT / 20).await;
    }
    let _permit = gate.acquire().await.unwrap();
}

const TASK: TaskKey<'static> = TaskKey { method: "m", taskhash: "t" };
const OUTPUT: OuthashKey<'static> = OuthashKey { method: "m", outhash: "o" };

async fn expect_late_row_is_kept(drips: bool) {
    let (fake, may_answer, asked) = late_upstream(drips).await;
    let (service, _directory) = service(Some(Arc::new(upstream(&fake.address, SHORT_TIMEOUT)))).await;
    let equivalence = service.equivalence();
    assert!(equivalence.outhash_row(OUTPUT, "t").await.unwrap().is_none());
    may_answer.add_permits(1);
    let local = service.without_upstream();
    until("the row is kept", async || local.equivalence().outhash_row(OUTPUT, "t").await.unwrap().is_some())
        .await;
    assert_eq!(equivalence.task_row(TASK).await.unwrap().unwrap().unihash, unihash(1));
    let mut equivalent = report(7, 70);
    equivalent.outhash = "o".to_owned();
    assert_eq!(equivalence.report(vec![equivalent]).await.unwrap(), [unihash(1)]);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what was kept is not asked again");
}

#[tokio::test]
async fn row_that_drips_in_is_kept_for_the_next_question() {
    expect_late_row_is_kept(true).await;
}

#[tokio::test]
async fn row_that_comes_after_a_long_silence_is_kept_for_the_next_question() {
    expect_late_row_is_kept(false).await;
}

#[tokio::test]
async fn unihash_that_comes_too_late_is_kept_for_the_next_question() {
    let (fake, may_answer, asked) = late_upstream(false).await;
    let (service, _directory) = service(Some(Arc::new(upstream(&fake.address, SHORT_TIMEOUT)))).await;
    let taskhash = hash(5);
    let key = TaskKey { method: "m", taskhash: &taskhash };
    assert_eq!(service.equivalence().unihashes(&[key]).await.unwrap(), [None]);
    may_answer.add_permits(1);
    let local = service.without_upstream();
    until("it is kept", async || local.equivalence().unihash(key).await.unwrap() == Some(unihash(5))).await;
    assert_eq!(service.equivalence().unihashes(&[key]).await.unwrap(), [Some(unihash(5))]);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "what was kept is not asked again");
}
