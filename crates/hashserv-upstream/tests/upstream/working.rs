//! Upstreams that answer.

use std::sync::{Arc, Mutex};

use hashserv_service::Upstream;
use hashserv_storage::{OuthashKey, TaskKey, Unihash};
use hashserv_transport::{DialOptions, Dialer};
use hashserv_upstream::{ClientUpstream, UpstreamOptions};

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, get, hash, row, unihash, upstream};

fn expected(numbers: impl IntoIterator<Item = usize>) -> Vec<Option<Unihash>> {
    numbers.into_iter().map(|number| Some(unihash(number))).collect()
}

#[tokio::test]
async fn a_batch_is_asked_as_a_whole_before_any_answer() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            for taskhash in peer.taskhashes(1000).await {
                peer.answer(&taskhash).await;
            }
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(get(&upstream, 0..1000).await.unwrap(), expected(0..1000));
}

#[tokio::test]
async fn a_batch_of_any_size_is_written_while_its_answers_are_read() {
    let fake =
        FakeUpstream::start(|_, peer| Box::pin(async move { peer.getting().await.echo().await })).await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(get(&upstream, 0..100_000).await.unwrap(), expected(0..100_000));
    assert_eq!(fake.accepted(), 1);
}

#[tokio::test]
async fn more_questions_than_may_be_under_way_wait_for_their_turn() {
    let fake =
        FakeUpstream::start(|_, peer| Box::pin(async move { peer.getting().await.echo().await })).await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let batches = [0..70_000, 70_000..140_000, 140_000..140_001];
    let asked = batches.clone().map(|batch| get(&upstream, batch));
    for (batch, found) in batches.into_iter().zip(futures_util::future::join_all(asked).await) {
        assert!(found.unwrap() == expected(batch));
    }
    assert_eq!(fake.accepted(), 1);
}

#[tokio::test]
async fn what_several_ask_at_once_is_asked_once() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let fake = FakeUpstream::start(move |_, peer| {
        let seen = seen.clone();
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                seen.lock().unwrap().push(taskhash.clone());
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let (one, two, three) =
        tokio::join!(get(&upstream, [1, 2]), get(&upstream, [2, 1, 2]), get(&upstream, [3]));
    assert_eq!(one.unwrap(), expected([1, 2]));
    assert_eq!(two.unwrap(), expected([2, 1, 2]));
    assert_eq!(three.unwrap(), expected([3]));
    assert_eq!(*asked.lock().unwrap(), [hash(1), hash(2), hash(3)]);
    assert_eq!(fake.accepted(), 1);
}

#[tokio::test]
async fn an_answer_that_drips_in_is_taken() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            for taskhash in peer.taskhashes(2).await {
                for piece in format!("{taskhash}\n").split_inclusive(|_| true) {
                    peer.send(piece).await;
                    tokio::task::yield_now().await;
                }
                peer.answered().await;
            }
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(get(&upstream, [1, 2]).await.unwrap(), expected([1, 2]));
}

#[tokio::test]
async fn existence_has_a_stream_of_its_own() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.switched("exists-stream").await;
            while let Some(line) = peer.query().await {
                peer.answer(if line == hash(1) { "true" } else { "false" }).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let asked = [unihash(1), unihash(2), Unihash::from_stored("END"), Unihash::from_stored("a b")];
    assert_eq!(upstream.unihashes_exist(&asked).await, [true, false, false, false].map(Ok));
}

#[tokio::test]
async fn what_is_no_word_is_unknown_and_not_asked() {
    let fake =
        FakeUpstream::start(|_, peer| Box::pin(async move { peer.getting().await.echo().await })).await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let good = hash(1);
    let keys = ["a b", &good, "", "a\nm b"].map(|taskhash| TaskKey { method: "m", taskhash });
    assert_eq!(upstream.unihashes(&keys).await, [None, Some(unihash(1)), None, None].map(Ok));
}

#[tokio::test]
async fn rows_are_asked_for_while_others_are_awaited() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            let (first, second) = (peer.line().await.unwrap(), peer.line().await.unwrap());
            assert!(
                first.starts_with("{\"get-outhash\":") && second.starts_with("{\"get\":"),
                "{first} {second}"
            );
            peer.send(&row(&hash(1))).await;
            peer.send(&row(&hash(2))).await;
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let (outhash, task) = tokio::join!(
        upstream.outhash_row(OuthashKey { method: "m", outhash: "o" }, "other"),
        upstream.task_row(TaskKey { method: "m", taskhash: "t" })
    );
    assert_eq!(outhash.unwrap().unwrap().unihash, unihash(1));
    assert_eq!(task.unwrap().unwrap().unihash, unihash(2));
}

#[tokio::test]
async fn a_row_is_not_copied_for_everyone_who_asks_for_it() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            peer.line().await;
            peer.send(&row(&hash(1))).await;
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let ask = || upstream.outhash_row(OuthashKey { method: "m", outhash: "o" }, "t");
    let (one, other) = tokio::join!(ask(), ask());
    assert!(Arc::ptr_eq(&one.unwrap().unwrap(), &other.unwrap().unwrap()));
}

#[tokio::test]
async fn every_connection_logs_in() {
    let fake = FakeUpstream::start(|number, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            let expected = r#"{"auth":{"username":"me","token":"secret"}}"#;
            assert_eq!(peer.line().await.as_deref(), Some(expected));
            peer.send("{\"result\": true, \"username\": \"me\", \"permissions\": []}\n").await;
            assert_eq!(peer.line().await.as_deref(), Some("{\"get-stream\":null}"));
            peer.send("\"ok\"\n").await;
            let taskhash = peer.taskhashes(1).await.remove(0);
            peer.answer(&taskhash).await;
            peer.ended().await;
            if number > 0 {
                peer.silence().await;
            }
        })
    })
    .await;
    let login = Some(("me".to_owned(), "secret".to_owned()));
    let options = UpstreamOptions { timeout: GENEROUS_TIMEOUT, login, ..UpstreamOptions::default() };
    assert!(!format!("{options:?}").contains("secret"));
    let upstream = ClientUpstream::new(Dialer::new(DialOptions::default()), fake.address.clone(), options);
    assert!(!format!("{upstream:?}").contains("secret"));
    assert_eq!(get(&upstream, [1]).await.unwrap(), expected([1]));
    // The first connection was closed after its answer.
    assert_eq!(get(&upstream, [2]).await.unwrap(), expected([2]));
    assert_eq!(fake.accepted(), 2);
}
