//! Upstreams that answer other questions, but not those for rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use hashserv_log::CapturedLog;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::TaskKey;
use tracing::Level;

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, SHORT_TIMEOUT, get, hash, row, unihash, until, upstream};

const TASK: TaskKey<'static> = TaskKey { method: "m", taskhash: "t" };

#[tokio::test]
async fn silence_about_rows_holds_up_no_other_question_and_ends() {
    let log = CapturedLog::start();
    let answers = Arc::new(AtomicBool::new(false));
    let answering = answers.clone();
    let fake = FakeUpstream::start(move |_, peer| {
        let answers = answering.clone();
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            while let Some(line) = peer.line().await {
                if line == "{\"get-stream\":null}" {
                    peer.send("\"ok\"\n").await;
                    return peer.echo().await;
                }
                let answer = if line.contains("hashserv.upstream.probe") { "null\n" } else { &row(&hash(1)) };
                if answers.load(Ordering::SeqCst) {
                    peer.send(answer).await;
                }
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, SHORT_TIMEOUT);
    assert_eq!(upstream.task_row(TASK).await, Err(Unavailable));
    until("rows are not asked for", async || upstream.task_row(TASK).now_or_never().is_some()).await;
    until("others are", async || get(&upstream, [1]).await == Ok(vec![Some(unihash(1))])).await;
    let warnings = log.lines(Level::WARN);
    assert!(warnings.len() == 1 && warnings[0].contains("(get-outhash) fails"), "{warnings:?}");
    answers.store(true, Ordering::SeqCst);
    until("rows are asked for again", async || matches!(upstream.task_row(TASK).await, Ok(Some(_)))).await;
    let infos = log.lines(Level::INFO);
    assert!(infos.len() == 1 && infos[0].ends_with("(get-outhash) is back"), "{infos:?}");
}

/// Asks for a row that the upstream answers in this way, then for another one.
async fn expect_unknown(answer: String) {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(move |_, peer| {
        let answer = answer.clone();
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            while let Some(line) = peer.line().await {
                if line.contains("bad") {
                    return peer.send(&answer).await;
                }
                peer.send(&row(&hash(1))).await;
            }
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    let bad = TaskKey { method: "m", taskhash: "bad" };
    let (one, other) = tokio::join!(upstream.task_row(bad), upstream.task_row(TASK));
    assert_eq!(one, Ok(None));
    assert_eq!(other.unwrap().unwrap().unihash, unihash(1));
    assert_eq!(fake.accepted(), 3);
    let warnings = log.lines(Level::WARN);
    assert!(
        warnings.len() == 1 && warnings[0].contains("\"bad\" }, which is answered without it"),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn a_row_that_is_refused_is_unknown_and_others_are_answered() {
    expect_unknown("{\"invoke-error\": {\"message\": \"internal error\"}}\n".to_owned()).await;
}

#[tokio::test]
async fn a_row_that_is_too_long_is_unknown_and_others_are_answered() {
    expect_unknown("x".repeat(1024 * 1024)).await;
}

#[tokio::test]
async fn a_row_about_something_else_is_unknown_and_others_are_answered() {
    expect_unknown(row(&hash(1))).await;
}

#[tokio::test]
async fn one_that_refuses_every_row_is_asked_for_none_but_for_unihashes() {
    let log = CapturedLog::start();
    let fake = FakeUpstream::start(move |_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            if peer.line().await.as_deref() == Some("{\"get-stream\":null}") {
                peer.send("\"ok\"\n").await;
                return peer.echo().await;
            }
            peer.send("{\"invoke-error\": {\"message\": \"not allowed\"}}\n").await;
        })
    })
    .await;
    let upstream = upstream(&fake.address, GENEROUS_TIMEOUT);
    for _ in 0..4 {
        let _ = upstream.task_row(TASK).await;
    }
    assert_eq!(upstream.task_row(TASK).now_or_never(), Some(Err(Unavailable)));
    assert_eq!(fake.accepted(), 5);
    assert_eq!(get(&upstream, [1]).await, Ok(vec![Some(unihash(1))]));
    assert!(log.lines(Level::WARN)[1].contains("(get-outhash) fails"), "{:?}", log.lines(Level::WARN));
}
