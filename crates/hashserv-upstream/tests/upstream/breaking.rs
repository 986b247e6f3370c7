//! Upstreams that fail: who asks is told so in time, and nobody waits afterwards.

use std::time::Duration;

use futures_util::FutureExt;
use hashserv_log::CapturedLog;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::TaskKey;
use tokio::time::timeout;
use tracing::Level;

use crate::fake::{FakeUpstream, Peer, Serving};
use crate::support::{GENEROUS_TIMEOUT, SHORT_TIMEOUT, get, hash, unihash, until, upstream};

/// Asks a failing upstream, which has a time limit, so many keys; makes sure that it is not asked again
/// afterwards; tells how many connections it got.
async fn expect_failure(
    limit: Duration,
    count: usize,
    serve: impl Fn(usize, Peer) -> Serving + Send + 'static,
) -> usize {
    let fake = FakeUpstream::start(serve).await;
    let upstream = upstream(&fake.address, limit);
    let failed = timeout(GENEROUS_TIMEOUT / 2, get(&upstream, 0..count)).await.expect("the failure is told");
    assert_eq!(failed, Err(Unavailable));
    let at_once = async || get(&upstream, [1]).now_or_never() == Some(Err(Unavailable));
    until("nobody waits for it", at_once).await;
    let connections = fake.accepted();
    assert!(at_once().await);
    assert_eq!(fake.accepted(), connections, "it is left alone");
    connections
}

#[tokio::test]
async fn one_that_is_not_there() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let address = fake.address.clone();
    drop(fake);
    let upstream = upstream(&address, GENEROUS_TIMEOUT);
    // The listener is gone once its task is.
    until("it is refused", async || get(&upstream, [1]).await == Err(Unavailable)).await;
}

#[tokio::test]
async fn one_that_says_nothing() {
    expect_failure(SHORT_TIMEOUT, 10, |_, peer| Box::pin(peer.silence())).await;
}

#[tokio::test]
async fn one_that_takes_no_connection_is_told_of_as_such() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let address = format!("ws://{}", fake.address).parse().unwrap();
    let upstream = upstream(&address, SHORT_TIMEOUT);
    until("it fails", async || get(&upstream, [1]).await.is_err() && !log.lines(Level::WARN).is_empty())
        .await;
    let warnings = log.lines(Level::WARN);
    assert!(warnings[0].contains("cannot connect to ws://"), "{warnings:?}");
}

#[tokio::test]
async fn one_that_says_nothing_more() {
    expect_failure(SHORT_TIMEOUT, 10, |_, peer| Box::pin(async { peer.getting().await.silence().await }))
        .await;
}

#[tokio::test]
async fn one_that_stops_within_a_line() {
    expect_failure(SHORT_TIMEOUT, 10, |_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            peer.send(&format!("{}\n0000", hash(0))).await;
            peer.silence().await;
        })
    })
    .await;
}

#[tokio::test]
async fn one_that_reads_nothing() {
    expect_failure(SHORT_TIMEOUT, 100_000, |_, peer| {
        Box::pin(async move {
            let peer = peer.getting().await;
            std::future::pending::<()>().await;
            drop(peer);
        })
    })
    .await;
}

#[tokio::test]
async fn one_that_closes_every_connection() {
    let connections = expect_failure(GENEROUS_TIMEOUT, 10, |_, peer| {
        Box::pin(async { drop(peer.getting().await.taskhashes(1).await) })
    })
    .await;
    assert!((2..=5).contains(&connections), "{connections}");
}

#[tokio::test]
async fn one_that_sends_a_line_without_end() {
    expect_failure(GENEROUS_TIMEOUT, 10, |_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            peer.send(&"x".repeat(1024 * 1024)).await;
            peer.silence().await;
        })
    })
    .await;
}

#[tokio::test]
async fn one_that_is_something_else() {
    expect_failure(GENEROUS_TIMEOUT, 10, |_, mut peer| {
        Box::pin(async move {
            peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            peer.silence().await;
        })
    })
    .await;
}

#[tokio::test]
async fn one_that_neither_affirms_nor_denies_knows_nothing() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.switched("exists-stream").await;
            peer.send("perhaps\n").await;
            peer.silence().await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(upstream.unihashes_exist(&[unihash(1)]).await, [Ok(false)]);
}

#[tokio::test]
async fn one_that_refuses_is_told_of_once() {
    let log = CapturedLog::start();
    let connections = expect_failure(GENEROUS_TIMEOUT, 10, |_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            peer.line().await;
            peer.send("{\"invoke-error\": {\"message\": \"not\\nallowed\"}}\n").await;
        })
    })
    .await;
    assert_eq!(connections, 1, "a refusal is not asked for again");
    let warnings = log.lines(Level::WARN);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("refuses to answer: not allowed"), "{warnings:?}");
}

#[tokio::test]
async fn one_kind_of_question_does_not_hold_up_another() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            if peer.line().await.as_deref() == Some("{\"get-stream\":null}") {
                peer.send("\"ok\"\n").await;
                peer.echo().await;
            } else {
                peer.silence().await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    tokio::select! {
        row = upstream.task_row(TaskKey { method: "m", taskhash: "t" }) => panic!("{row:?}"),
        found = get(&upstream, [1]) => assert_eq!(found.unwrap(), [Some(unihash(1))]),
    }
}

#[tokio::test]
async fn one_that_lacks_a_mode_is_asked_in_the_others() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            if peer.line().await.as_deref() == Some("{\"get-stream\":null}") {
                peer.send("\"ok\"\n").await;
                peer.echo().await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    assert_eq!(upstream.unihashes_exist(&[unihash(1)]).await, [Err(Unavailable)]);
    assert_eq!(upstream.unihashes_exist(&[unihash(1)]).now_or_never(), Some(vec![Err(Unavailable)]));
    assert_eq!(get(&upstream, [1]).await.unwrap(), [Some(unihash(1))]);
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("(exists-stream)"), "{warnings:?}");
}
