//! Upstreams that are slow: who asks has what came in time, and the others do not suffer.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hashserv_log::CapturedLog;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::{TaskKey, Unihash};
use tokio::sync::{Notify, mpsc};
use tracing::Level;

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, get, hash, row, unihash, until, upstream};

/// Number of questions that are answered as a whole.
const TOGETHER: usize = 256;

/// Asks for the unihashes of more tasks than are answered as a whole.
async fn get_many(upstream: &impl Upstream) -> Vec<Result<Option<Unihash>, Unavailable>> {
    let taskhashes: Vec<String> = (0..TOGETHER + 5).map(hash).collect();
    let keys: Vec<_> = taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    upstream.unihashes(&keys).await
}

fn all_but_five() -> Vec<Result<Option<Unihash>, Unavailable>> {
    let answer = |number| if number < TOGETHER { Ok(Some(unihash(number))) } else { Err(Unavailable) };
    (0..TOGETHER + 5).map(answer).collect()
}

#[tokio::test]
async fn what_came_in_time_is_handed_out() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            for taskhash in &peer.taskhashes(TOGETHER + 5).await[..TOGETHER + 2] {
                peer.answer(taskhash).await;
            }
            peer.silence().await;
        })
    })
    .await;
    // Enough for the answers on a busy machine.
    let upstream = upstream(&fake.address, Duration::from_secs(2));
    assert_eq!(get_many(&upstream).await, all_but_five());
}

#[tokio::test]
async fn what_came_before_a_failure_is_handed_out() {
    let fake = FakeUpstream::start(|number, mut peer| {
        Box::pin(async move {
            if number > 0 {
                return peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            }
            let mut peer = peer.getting().await;
            for taskhash in &peer.taskhashes(TOGETHER + 5).await[..TOGETHER + 2] {
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    assert_eq!(get_many(&upstream(&fake.address, GENEROUS_TIMEOUT)).await, all_but_five());
}

#[tokio::test]
async fn a_row_that_takes_its_time_is_no_failure() {
    let log = CapturedLog::start();
    let ends = Arc::new(AtomicBool::new(false));
    let ending = ends.clone();
    let fake = FakeUpstream::start(move |_, peer| {
        let ending = ending.clone();
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            if peer.line().await.as_deref() == Some("{\"get-stream\":null}") {
                peer.send("\"ok\"\n").await;
                return peer.echo().await;
            }
            while !ending.load(Ordering::SeqCst) {
                peer.send(" ").await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            peer.send(&row(&hash(1))).await;
            peer.line().await;
            peer.send(&row(&hash(2))).await;
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, Duration::from_secs(1));
    let key = TaskKey { method: "m", taskhash: "t" };
    assert_eq!(upstream.task_row(key).await, Err(Unavailable));
    assert_eq!(get(&upstream, [1]).await, Ok(vec![Some(unihash(1))]));
    assert_eq!(log.lines(Level::WARN), [""; 0]);
    ends.store(true, Ordering::SeqCst);
    let answered = async || upstream.task_row(key).await.is_ok_and(|row| row.unwrap().unihash == unihash(2));
    until("the next row comes over the same connection", answered).await;
    assert_eq!(fake.accepted(), 2);
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_not_asked() {
    let (opened, asked) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
    let (open, (seen, mut asked)) = (opened.clone(), asked);
    let fake = FakeUpstream::start(move |_, peer| {
        let (open, seen) = (open.clone(), seen.clone());
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            peer.line().await;
            open.notified().await;
            peer.send("\"ok\"\n").await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                seen.send(taskhash.clone()).unwrap();
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let mut first = pin!(get(&upstream, [1]));
    assert_eq!((&mut first).now_or_never(), None);
    // Asked, and given up.
    assert_eq!(get(&upstream, [2]).now_or_never(), None);
    opened.notify_one();
    assert_eq!(first.await, Ok(vec![Some(unihash(1))]));
    assert_eq!(get(&upstream, [3]).await, Ok(vec![Some(unihash(3))]));
    assert_eq!([asked.recv().await, asked.recv().await], [1, 3].map(|number| Some(hash(number))));
}

#[tokio::test]
async fn one_that_is_far_behind_is_asked_nothing_more_until_it_has_caught_up() {
    let log = CapturedLog::start();
    let hurries = Arc::new(AtomicBool::new(false));
    let (hurrying, (seen, mut asked)) = (hurries.clone(), mpsc::unbounded_channel());
    let fake = FakeUpstream::start(move |_, peer| {
        let (hurries, seen) = (hurrying.clone(), seen.clone());
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                seen.send(taskhash.clone()).unwrap();
                for piece in format!("{taskhash}\n").split_inclusive(|_| true) {
                    peer.send(piece).await;
                    if !hurries.load(Ordering::SeqCst) {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                    }
                }
                peer.answered().await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, Duration::from_secs(1));
    // Whether it is behind is clear after the second time at the latest.
    for number in [1, 1, 2] {
        assert_eq!(get(&upstream, [number]).await, Err(Unavailable));
    }
    hurries.store(true, Ordering::SeqCst);
    until("it has caught up", async || get(&upstream, [3]).await == Ok(vec![Some(unihash(3))])).await;
    assert_eq!([asked.recv().await, asked.recv().await], [1, 3].map(|number| Some(hash(number))));
    assert_eq!(log.lines(Level::WARN), [""; 0]);
}
