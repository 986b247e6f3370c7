//! Input that no client should send: refused, survived, and others are served on.

use hashserv_tests::{
    Backend, HANDSHAKE, Launch, RawClient, TestServer, Transport, get, report, report_of, task_of, unihash_of,
};
use serde_json::{Value, json};

use crate::everywhere::{everywhere, everywhere_with};

/// What a server may hold at most whatever a client sends, in MiB. It is some 12 when idle.
const MEMORY: u64 = 50;

#[tokio::test]
async fn another_protocol_or_version_is_closed_without_a_word() {
    everywhere(async |server| {
        for first in
            ["OEHASHEQUIV 1.0", "OEHASHEQUIV 1.2", "PRSERVICE 1.1", "OEHASHEQUIV", "", "GET / HTTP/1.1"]
        {
            let mut client = server.dial().await;
            client.send_line(first).await;
            client.closed().await;
        }
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn garbage_is_closed_without_a_word() {
    everywhere(async |server| {
        for bytes in [&b"\x16\x03\x01\x02\x00\n"[..], b"\x00\x00\x00\x00\n", b"\xff\xfe\xfd\n", b"\r\n\r\n"] {
            let mut client = server.dial().await;
            client.send_bytes(bytes).await;
            client.closed().await;
        }
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_websocket_port_survives_what_is_no_websocket() {
    for backend in Backend::all() {
        for (transport, scheme) in [(Transport::Ws, "ws://"), (Transport::Wss, "wss://")] {
            let server = TestServer::new(backend, transport).await;
            let address = server.address().strip_prefix(scheme).and_then(|rest| rest.split('/').next());
            for bytes in [&b"OEHASHEQUIV 1.1\n\n"[..], b"\x00\xff\x00", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
            {
                let mut client = RawClient::dial(address.expect("an address")).await.expect("a connection");
                client.send_bytes(bytes).await;
            }
            is_unharmed(&server).await;
        }
    }
}

#[tokio::test]
async fn half_a_line_before_the_end_is_dropped() {
    everywhere(async |server| {
        for half in ["OEHASH", "OEHASHEQUIV 1.1\nneeds-hea"] {
            server.dial().await.send_bytes(half.as_bytes()).await;
        }
        let mut client = server.connect().await;
        client.ping().await;
        client.send_bytes(&report("half").to_string().as_bytes()[..100]).await;
        drop(client);
        is_unharmed(server).await;
        assert_eq!(server.connect().await.ask(get(&task_of("half"))).await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_text_are_refused() {
    everywhere(async |server| {
        for bytes in [&b"\xff\xfe\n"[..], b"{\"ping\": \"\xc3\x28\"}\n", b"{\"ping\": \"\xed\xa0\x80\"}\n"] {
            let mut client = server.connect().await;
            client.send_bytes(bytes).await;
            client.refusal().await;
            let mut client = server.connect().await;
            client.send_line("{\"get-stream\": null}").await;
            assert_eq!(client.line().await, "\"ok\"");
            client.send_bytes(bytes).await;
            client.closed().await;
        }
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn nul_bytes_do_no_harm() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.send_line("{\"ping\": \0}").await;
        client.refusal().await;
        // Escaped they are JSON, but not every database can store them.
        for request in [
            json!({"get": {"method": "M", "taskhash": "a\0b"}}),
            json!({"remove": {"where": {"method": "M\0"}}}),
            report_of("T\0", "O", &unihash_of("a")),
        ] {
            let refusal = server.connect().await.ask_refused(&request).await;
            assert!(refusal.contains("NUL"), "{refusal}");
        }
        let mut client = server.connect().await;
        client.send_lines(&["{\"get-stream\": null}", "M a\0b"]).await;
        assert_eq!(client.line().await, "\"ok\"");
        client.closed().await;
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_is_refused() {
    everywhere(async |server| {
        for line in
            ["", " ", "[]", "5", "\"ping\"", "true", "{}", "{", "{\"ping\": {}} x", "{'ping': {}}", "nul"]
        {
            let mut client = server.connect().await;
            client.send_line(line).await;
            let refusal = client.refusal().await;
            assert!(!refusal.is_empty() && refusal != "internal error", "{line}: {refusal}");
        }
        for command in ["no-such-command", "PING", "", "chunk-stream2", "é"] {
            let refusal = server.connect().await.ask_refused(&json!({command: {}})).await;
            assert!(refusal.contains(command), "{command}: {refusal}");
        }
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_line_of_100_mib_is_refused_and_not_kept() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        let line = "x".repeat(100 * 1024 * 1024);
        // The server closes the connection before it has all.
        drop(client.try_send_lines(&[line]).await);
        until_closed(&mut client).await;
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn headers_without_end_are_closed() {
    everywhere(async |server| {
        let mut client = server.dial().await;
        client.send_line(HANDSHAKE[0]).await;
        let block = vec!["name: value"; 1000];
        for _ in 0..1000 {
            if client.try_send_lines(&block).await.is_err() {
                break;
            }
        }
        client.closed().await;
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn chunks_without_end_are_refused_at_the_bound() {
    let bounded = |launch: Launch| launch.args(["--max-message", "100000"]);
    everywhere_with(bounded, async |server| {
        let mut client = server.connect().await;
        client.send_line("{\"chunk-stream\": null}").await;
        let piece = "x".repeat(10_000);
        for _ in 0..1000 {
            if client.try_send_lines(&[&piece]).await.is_err() {
                break;
            }
        }
        until_closed(&mut client).await;
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_within_the_bound_is_taken_and_a_longer_one_is_not() {
    let bounded = |launch: Launch| launch.args(["--max-message", "100000"]);
    everywhere_with(bounded, async |server| {
        let mut client = server.connect().await;
        let ping = |length: usize| json!({"ping": "x".repeat(length)});
        client.ask(ping(99_000)).await;
        // The server may close the connection before it has all.
        drop(client.try_send(&ping(200_000)).await);
        until_closed(&mut client).await;
        let too_large = server.address().starts_with("ws").then_some(1009);
        assert_eq!(client.close_status(), too_large);
        is_unharmed(server).await;
    })
    .await;
}

#[tokio::test]
async fn deep_nesting_does_no_harm() {
    everywhere(async |server| {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for request in [
            format!("{{\"ping\": {}}}", deep(15_000)),
            deep(15_000),
            "[".repeat(30_000),
            "{\"a\":".repeat(6_000),
            format!("{{\"remove\": {{\"where\": {{\"method\": {}}}}}}}", deep(15_000)),
            format!("{{\"get\": {{\"method\": {}, \"taskhash\": \"T\"}}}}", deep(15_000)),
        ] {
            let mut client = server.connect().await;
            client.send_line(&request).await;
            let reply = client.try_message().await.expect("an answer").expect("an answer");
            assert!(reply.text.contains("invoke-error") || reply.text.contains("alive"), "{}", reply.text);
        }
        is_unharmed(server).await;
    })
    .await;
}

/// Takes what still comes until the server has closed the connection. What was refused is explained, unless
/// the explanation was lost since the server could not wait until everything was sent.
async fn until_closed(client: &mut RawClient) {
    while let Ok(Some(line)) = client.try_line().await {
        assert!(line.starts_with("{\"invoke-error\""), "{line}");
    }
}

/// Others are served, and nothing was kept.
async fn is_unharmed(server: &TestServer) {
    let mut client = server.connect().await;
    client.ping().await;
    assert_eq!(client.ask(get("unknown")).await, Value::Null);
    let peak = server.peak_mib();
    assert!(peak < MEMORY, "the server has held {peak} MiB");
}
