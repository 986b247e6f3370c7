//! Upstreams that answer other questions, but not those for rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use hashserv_service::{Unavailable, Upstream};
use hashserv_storage::TaskKey;
use tracing::Level;

use crate::fake::FakeUpstream;
use crate::log::Log;
use crate::support::{SHORT, get, hash, row, unihash, until, upstream};

const TASK: TaskKey<'static> = TaskKey { method: "m", taskhash: "t" };

#[tokio::test]
async fn silence_about_rows_holds_up_no_other_question_and_ends() {
    let log = Log::capture();
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
    let upstream = upstream(&fake.address, SHORT);
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
