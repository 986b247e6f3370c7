//! Upstreams that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashserv_log::CapturedLog;
use hashserv_protocol::Address;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::TaskKey;
use hashserv_upstream::ClientUpstream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::Level;

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, SHORT_TIMEOUT, get, hash, unihash, until, upstream};

#[tokio::test]
async fn what_a_lost_connection_left_unanswered_is_asked_again() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|number, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            if number > 0 {
                return peer.echo().await;
            }
            for taskhash in &peer.taskhashes(5).await[..2] {
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let found = get(&upstream, 0..5).await.unwrap();
    assert_eq!(found, (0..5).map(|number| Some(unihash(number))).collect::<Vec<_>>());
    assert_eq!(fake.accepted(), 2);
    assert_eq!(log.lines(Level::WARN), [""; 0]);
}

#[tokio::test]
async fn an_idle_connection_may_be_closed_any_number_of_times() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            let taskhash = peer.taskhashes(1).await.remove(0);
            peer.answer(&taskhash).await;
            peer.ended().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    for number in 0..10 {
        assert_eq!(get(&upstream, [number]).await.unwrap(), [Some(unihash(number))]);
    }
    assert_eq!(fake.accepted(), 10);
}

#[tokio::test]
async fn a_connection_that_nobody_uses_is_given_up() {
    let closed = Arc::new(Notify::new());
    let told = closed.clone();
    let fake = FakeUpstream::start(move |_, peer| {
        let told = told.clone();
        Box::pin(async move {
            peer.getting().await.echo().await;
            told.notify_one();
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(get(&upstream, [1]).await.unwrap(), [Some(unihash(1))]);
    // Time runs as fast as it may from here on.
    tokio::time::pause();
    timeout(Duration::from_secs(24 * 60 * 60), closed.notified()).await.expect("it is given up");
    tokio::time::resume();
    assert_eq!(get(&upstream, [2]).await.unwrap(), [Some(unihash(2))]);
    assert_eq!(fake.accepted(), 2);
}

/// An upstream that has been found gone, and its address, which is free.
async fn one_that_is_gone() -> (ClientUpstream, Address) {
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let address = fake.address.clone();
    drop(fake);
    let upstream = upstream(&address, GENEROUS_TIMEOUT);
    until("the upstream is gone", async || get(&upstream, [1]).await == Err(Unavailable)).await;
    (upstream, address)
}

#[tokio::test]
async fn one_that_was_restarted_is_asked_again_and_both_changes_are_told() {
    let log = CapturedLog::start();
    let (upstream, address) = one_that_is_gone().await;
    let serve = |_, peer: crate::fake::Peer| -> crate::fake::Serving {
        Box::pin(async { peer.getting().await.echo().await })
    };
    let _fake = FakeUpstream::start_at(&address.to_string(), serve).await;
    until("the upstream is used again", async || get(&upstream, [1]).await == Ok(vec![Some(unihash(1))]))
        .await;
    let (warnings, infos) = (log.lines(Level::WARN), log.lines(Level::INFO));
    assert!(warnings.len() == 1 && warnings[0].contains("Connection refused"), "{warnings:?}");
    assert!(infos.len() == 1 && infos[0].ends_with("is back"), "{infos:?}");
}

#[tokio::test]
async fn one_that_takes_connections_but_answers_nothing_is_not_told_to_be_back() {
    let log = CapturedLog::start();
    let (upstream, address) = one_that_is_gone().await;
    let answers = Arc::new(AtomicBool::new(false));
    let answering = answers.clone();
    let fake = FakeUpstream::start_at(&address.to_string(), move |_, peer| {
        let answers = answering.clone();
        Box::pin(async move {
            if answers.load(Ordering::SeqCst) {
                peer.getting().await.echo().await;
            }
        })
    })
    .await;
    until("it is probed", async || fake.accepted() > 0).await;
    until("the kind of question fails", async || log.lines(Level::WARN).len() == 2).await;
    let times_back = || log.lines(Level::INFO).iter().filter(|info| info.ends_with("is back")).count();
    assert_eq!(times_back(), 0);
    answers.store(true, Ordering::SeqCst);
    until("it is used again", async || get(&upstream, [1]).await == Ok(vec![Some(unihash(1))])).await;
    assert_eq!(times_back(), 2, "{:?}", log.lines(Level::INFO));
}

#[tokio::test]
async fn one_that_was_silent_is_asked_again() {
    let fake = FakeUpstream::start(|number, peer| {
        Box::pin(async move {
            let peer = peer.getting().await;
            if number == 0 { peer.silence().await } else { peer.echo().await }
        })
    })
    .await;
    let upstream = upstream(&fake.address, SHORT_TIMEOUT);
    assert_eq!(get(&upstream, [1]).await, Err(Unavailable));
    until("it is used again", async || get(&upstream, [1]).await == Ok(vec![Some(unihash(1))])).await;
}

#[tokio::test]
async fn a_question_that_is_refused_is_unknown_and_the_others_are_answered() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                if *taskhash == hash(2) {
                    return peer.send("{\"invoke-error\": {\"message\": \"no\"}}\n").await;
                }
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let (one, other) = tokio::join!(get(&upstream, [1, 2, 3]), get(&upstream, [2, 4]));
    assert_eq!(one, Ok(vec![Some(unihash(1)), None, Some(unihash(3))]));
    assert_eq!(other, Ok(vec![None, Some(unihash(4))]));
    assert_eq!(fake.accepted(), 4);
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("is answered without it"), "{warnings:?}");
}

#[tokio::test]
async fn close_without_a_reply_makes_nothing_unknown_and_the_others_are_answered() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            while let [taskhash] = &peer.taskhashes(1).await[..] {
                if *taskhash == hash(2) {
                    return;
                }
                peer.answer(taskhash).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let taskhashes = [1, 2, 3].map(hash);
    let keys: Vec<_> = taskhashes.iter().map(|taskhash| TaskKey { method: "m", taskhash }).collect();
    let found = upstream.unihashes(&keys).await;
    assert_eq!(found, [Ok(Some(unihash(1))), Err(Unavailable), Ok(Some(unihash(3)))]);
}

#[tokio::test]
async fn upstream_that_is_wrong_is_warned_of_before_anybody_asks() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            peer.line().await;
            peer.send("{\"invoke-error\": {\"message\": \"Unable to authenticate as me\"}}\n").await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(fake.accepted(), 0);
    upstream.try_out();
    until("it is tried", async || !log.lines(Level::WARN).is_empty()).await;
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("Unable to authenticate as me"), "{warnings:?}");
}

#[tokio::test]
async fn a_probe_whose_connection_is_lost_is_not_the_last() {
    let fake = FakeUpstream::start(|number, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            if number < 6 {
                peer.taskhashes(1).await;
            } else {
                peer.echo().await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(get(&upstream, 0..10).await, Err(Unavailable));
    until("it is used again", async || get(&upstream, [1]).await == Ok(vec![Some(unihash(1))])).await;
}
