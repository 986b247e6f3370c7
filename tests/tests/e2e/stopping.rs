//! Stopping on a signal.

use std::path::Path;

use hashserv_tests::{Backend, METHOD, Signal, TestServer, Transport, report, task_of};
use serde_json::json;

use crate::everywhere::each_place;

#[tokio::test]
async fn the_signals_that_stop_end_it_with_status_0() {
    for backend in Backend::all() {
        for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
            let mut server = TestServer::new(backend, Transport::Unix).await;
            server.signal(signal);
            assert_eq!(server.ended().await.code(), Some(0), "{signal:?}: {}", server.log());
        }
    }
}

#[tokio::test]
async fn connected_clients_do_not_keep_it_from_ending() {
    each_place(async |backend, transport| {
        let mut server = TestServer::new(backend, transport).await;
        let mut idle = server.connect().await;
        idle.ask(report("a")).await;
        let mut in_stream = server.connect().await;
        in_stream.send_line("{\"get-stream\": null}").await;
        assert_eq!(in_stream.line().await, "\"ok\"");
        let mut half = server.connect().await;
        half.ping().await;
        if !transport.is_websocket() {
            half.send_bytes(b"{\"ping\"").await;
        }
        let _unopened = server.dial().await;
        let socket = server.address().strip_prefix("unix://").map(str::to_owned);
        assert_eq!(server.stop().await.code(), Some(0), "{}", server.log());
        for client in [&mut idle, &mut in_stream, &mut half] {
            client.closed().await;
        }
        assert!(socket.is_none_or(|path| !Path::new(&path).exists()), "the socket file is left behind");
    })
    .await;
}

#[tokio::test]
async fn requests_that_have_arrived_are_answered_before_the_end() {
    each_place(async |backend, transport| {
        let mut server = TestServer::new(backend, transport).await;
        let mut client = server.connect().await;
        client.ping().await;
        for number in 0..100 {
            client.send(&report(&number.to_string())).await;
        }
        // The first reply tells that the server is at them.
        client.message().await;
        server.stop().await;
        let mut answered = 1;
        while let Ok(Some(_)) = client.try_line().await {
            answered += 1;
        }
        server.start_again().await;
        let mut client = server.connect().await;
        let usage = client.ask(json!({"get-db-usage": {}})).await;
        let stored = usage["usage"]["outhashes_v2"]["rows"].as_u64().expect("a number");
        assert_eq!(stored, answered, "what was recorded was answered, and the other way round");
    })
    .await;
}

#[tokio::test]
async fn who_never_reads_replies_does_not_keep_it_from_ending() {
    for backend in Backend::all() {
        let mut server = TestServer::new(backend, Transport::Unix).await;
        let mut deaf = server.connect().await;
        let mut large = report("large");
        large["report"]["outhash_siginfo"] = "x".repeat(1024 * 1024).into();
        deaf.ask(large).await;
        let request = json!({"get": {"method": METHOD, "taskhash": task_of("large"), "all": true}});
        deaf.send_lines(&vec![request.to_string(); 20]).await;
        // The first reply has begun to arrive, and no more than fits in between will.
        deaf.line().await;
        assert_eq!(server.stop().await.code(), Some(0), "{}", server.log());
        assert!(server.log().contains("1 clients were cut off"), "{}", server.log());
    }
}
