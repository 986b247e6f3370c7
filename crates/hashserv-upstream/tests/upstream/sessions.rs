//! Clients of a server that has an upstream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashserv_storage::UnihashEntry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake::FakeUpstream;
use crate::support::{GENEROUS_TIMEOUT, Running, SHORT_TIMEOUT, hash, report, unihash, upstream};

fn tasks(numbers: std::ops::Range<usize>) -> Vec<(&'static str, String)> {
    numbers.map(|number| ("m", hash(number))).collect()
}

#[tokio::test]
async fn a_large_batch_of_a_client_is_asked_as_a_whole() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            for taskhash in peer.taskhashes(5_000).await {
                peer.answer(&taskhash).await;
            }
            peer.silence().await;
        })
    })
    .await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let mut client = server.client().await;
    let found = client.get_stream().await.unwrap().unihashes(&tasks(0..5_000)).await.unwrap();
    assert_eq!(found, (0..5_000).map(|number| Some(hash(number))).collect::<Vec<_>>());
    // The mode ends as it does without an upstream.
    client.ping().await.unwrap();
}

#[tokio::test]
async fn batches_that_end_the_mode_and_begin_it_again_wait_for_the_upstream_together() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.getting().await;
            for taskhash in peer.taskhashes(3).await {
                peer.answer(&taskhash).await;
            }
            peer.silence().await;
        })
    })
    .await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let mut socket = TcpStream::connect(server.address.to_string()).await.unwrap();
    let begin = "{\"get-stream\": null}\n";
    let [one, two, three] = [1, 2, 3].map(hash);
    let lines =
        format!("OEHASHEQUIV 1.1\n\n{begin}m {one}\nm {two}\nEND\n{begin}END\n{begin}m {three}\nEND\nnull\n");
    socket.write_all(lines.as_bytes()).await.unwrap();
    let mut replies = String::new();
    tokio::time::timeout(GENEROUS_TIMEOUT / 2, socket.read_to_string(&mut replies)).await.unwrap().unwrap();
    assert_eq!(replies, format!("\"ok\"\n{one}\n{two}\nok\n\"ok\"\nok\n\"ok\"\n{three}\nok\n"));
}

#[tokio::test]
async fn reports_ask_together() {
    let fake = FakeUpstream::start(|_, peer| {
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            for _ in 0..100 {
                peer.line().await;
            }
            peer.send(&"null\n".repeat(100)).await;
            peer.silence().await;
        })
    })
    .await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let reports = (0..100).map(|number| report(number, 1000 + number)).collect();
    let unihashes = server.service.equivalence().report(reports).await.unwrap();
    assert_eq!(unihashes, (0..100).map(unihash).collect::<Vec<_>>());
}

#[tokio::test]
async fn rows_that_a_client_asks_for_one_after_the_other_are_asked_together() {
    let together = Arc::new(AtomicBool::new(false));
    let all_came = together.clone();
    let fake = FakeUpstream::start(move |_, peer| {
        let all_came = all_came.clone();
        Box::pin(async move {
            let mut peer = peer.greeted().await;
            for _ in 0..16 {
                peer.line().await;
            }
            all_came.store(true, Ordering::Relaxed);
            peer.send(&"null\n".repeat(16)).await;
            peer.silence().await;
        })
    })
    .await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let entry = UnihashEntry { method: "m".to_owned(), taskhash: hash(99), unihash: unihash(7) };
    server.service.equivalence().record_unihash(entry).await.unwrap();
    let get = |number, all| {
        format!("{{\"get\": {{\"method\": \"m\", \"taskhash\": \"{}\", \"all\": {all}}}}}\n", hash(number))
    };
    let rows: String = (0..16).map(|number| get(number, true)).collect();
    let lines = format!("OEHASHEQUIV 1.1\n\n{rows}{}{{\"ping\": {{}}}}\nnull\n", get(99, false));
    let mut socket = TcpStream::connect(server.address.to_string()).await.unwrap();
    socket.write_all(lines.as_bytes()).await.unwrap();
    let mut replies = String::new();
    socket.read_to_string(&mut replies).await.unwrap();
    let replies: Vec<&str> = replies.lines().collect();
    assert!(together.load(Ordering::Relaxed), "the upstream was asked for one after the other");
    assert_eq!(replies[..16], ["null"; 16]);
    assert!(replies[16].contains(&hash(7)), "{}", replies[16]);
    assert_eq!(replies[17..], ["{\"alive\":true}"]);
}

#[tokio::test]
async fn clients_of_an_upstream_that_is_silent_get_what_is_known_here() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, SHORT_TIMEOUT)))).await;
    let entry = UnihashEntry { method: "m".to_owned(), taskhash: hash(1), unihash: unihash(7) };
    server.service.equivalence().record_unihash(entry).await.unwrap();
    let mut client = server.client().await;
    let found = client.get_stream().await.unwrap().unihashes(&tasks(0..3)).await.unwrap();
    assert_eq!(found, [None, Some(hash(7)), None]);
    // The same connection goes on.
    assert_eq!(client.get("m", &hash(2)).await.unwrap(), None);
    assert_eq!(client.get_row("m", &hash(2)).await.unwrap(), None);
    assert_eq!(client.exists_stream().await.unwrap().exist(&[hash(2)]).await.unwrap(), [false]);
    let reported = server.service.equivalence().report(vec![report(3, 30)]).await.unwrap();
    assert_eq!(reported, [unihash(3)]);
}

#[tokio::test]
async fn a_session_that_waits_holds_up_no_other() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(peer.silence())).await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let entry = UnihashEntry { method: "m".to_owned(), taskhash: hash(1), unihash: unihash(7) };
    server.service.equivalence().record_unihash(entry).await.unwrap();
    let (mut waiting, mut other) = (server.client().await, server.client().await);
    let (unknown, known) = (tasks(5..6), tasks(1..2));
    let mut stream = waiting.get_stream().await.unwrap();
    tokio::select! {
        found = stream.unihashes(&unknown) => panic!("{found:?}"),
        found = async { other.get_stream().await.unwrap().unihashes(&known).await } => {
            assert_eq!(found.unwrap(), [Some(hash(7))]);
        }
    }
}

#[tokio::test]
async fn replies_before_a_bad_line_are_sent_and_nothing_after_them() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(async { peer.getting().await.echo().await })).await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let mut socket = TcpStream::connect(server.address.to_string()).await.unwrap();
    let lines = format!(
        "OEHASHEQUIV 1.1\n\n{{\"get-stream\": null}}\nm {}\nm {}\nonly-one-word\nm {}\n",
        hash(1),
        hash(2),
        hash(3)
    );
    socket.write_all(lines.as_bytes()).await.unwrap();
    let mut replies = String::new();
    socket.read_to_string(&mut replies).await.unwrap();
    let replies: Vec<&str> = replies.lines().collect();
    assert_eq!(replies, ["\"ok\"", &hash(1), &hash(2)]);
}

#[tokio::test]
async fn a_client_that_sends_nothing_more_gets_all_replies() {
    let fake = FakeUpstream::start(|_, peer| Box::pin(async { peer.getting().await.echo().await })).await;
    let server = Running::start(Some(Arc::new(upstream(&fake.address, GENEROUS_TIMEOUT)))).await;
    let mut socket = TcpStream::connect(server.address.to_string()).await.unwrap();
    let queries: String = (0..3_000).map(|number| format!("m {}\n", hash(number))).collect();
    let lines = format!("OEHASHEQUIV 1.1\n\n{{\"get-stream\": null}}\n{queries}");
    let (mut reader, mut writer) = socket.split();
    let write = async {
        writer.write_all(lines.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut replies = String::new();
    let (_, read) = tokio::join!(write, reader.read_to_string(&mut replies));
    read.unwrap();
    let expected: String = (0..3_000).map(|number| format!("{}\n", hash(number))).collect();
    assert_eq!(replies, format!("\"ok\"\n{expected}"));
}
