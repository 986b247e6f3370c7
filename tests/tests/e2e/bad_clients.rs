//! Clients that behave badly, or are too many: others are served, and memory stays bounded.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashserv_tests::{
    Backend, HANDSHAKE, Launch, METHOD, RawClient, TestServer, Transport, eventually, get, report, task_of,
    unihash_of,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use serde_json::json;
use tokio::time::timeout;

use crate::everywhere::{each_place, everywhere};

/// What the server may hold at most, in MiB, while many clients misbehave or are idle. It is some 12 alone.
const MEMORY: u64 = 150;

/// Time without any progress after which a client counts as stuck: far longer than a busy server takes for a batch.
const STUCK: Duration = Duration::from_secs(3);

/// How many clients are idle at once.
const IDLE: usize = 2000;

/// Places that only clients of unix sockets have.
const RESERVED_UNIX_CONNECTIONS: usize = 8;

#[tokio::test]
async fn who_never_reads_replies_costs_little_and_hinders_nobody() {
    everywhere(async |server| {
        let mut reader = server.connect().await;
        let mut large = report("large");
        large["report"]["outhash_siginfo"] = "x".repeat(1024 * 1024).into();
        reader.ask(large).await;
        let request =
            json!({"get": {"method": METHOD, "taskhash": task_of("large"), "all": true}}).to_string();
        let mut deaf = Vec::new();
        for _ in 0..10 {
            let mut client = server.connect().await;
            // Replies of 200 MiB in all: what does not fit is not made before it is read.
            client.send_lines(&vec![&request; 200]).await;
            // The first reply has begun to arrive: the server is at it.
            client.line().await;
            deaf.push(client);
        }
        for _ in 0..200 {
            assert_eq!(reader.ask(get(&task_of("large"))).await["unihash"], unihash_of("large"));
        }
        has_stayed_small(server);
        for mut client in deaf {
            client.line().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_never_reads_in_a_stream_costs_little_and_hinders_nobody() {
    everywhere(async |server| {
        let mut reader = server.connect().await;
        reader.ask(report("a")).await;
        let mut deaf = Vec::new();
        for _ in 0..10 {
            let mut client = server.connect().await;
            client.send_line("{\"get-stream\": null}").await;
            assert_eq!(client.line().await, "\"ok\"");
            let stuck = Arc::new(AtomicBool::new(false));
            deaf.push((tokio::spawn(ask_without_reading(client, Arc::clone(&stuck))), stuck));
        }
        // Only then does the server hold all that it is ever going to hold.
        eventually("nothing more is taken from any of them", async || {
            deaf.iter().all(|(_, stuck)| stuck.load(Ordering::Relaxed)).then_some(())
        })
        .await;
        for _ in 0..200 {
            assert_eq!(reader.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
        }
        has_stayed_small(server);
        deaf.iter().for_each(|(asking, _)| asking.abort());
    })
    .await;
}

/// Asks on and on; it is stuck as long as the server has taken nothing for a while.
async fn ask_without_reading(mut client: RawClient, stuck: Arc<AtomicBool>) {
    let lines = vec![format!("{METHOD} {}", task_of("a")); 1000];
    loop {
        let mut sending = pin!(client.try_send_lines(&lines));
        let sent = loop {
            match timeout(STUCK, &mut sending).await {
                Ok(sent) => break sent,
                Err(_) => stuck.store(true, Ordering::Relaxed),
            }
        };
        stuck.store(false, Ordering::Relaxed);
        if sent.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn who_never_finishes_the_handshake_hinders_nobody() {
    each_place(async |backend, transport| {
        let server = TestServer::new(backend, transport).await;
        let mut unfinished = Vec::new();
        for lines in [&[][..], &HANDSHAKE[..1], &HANDSHAKE[..2]] {
            for _ in 0..20 {
                let mut client = server.dial().await;
                client.send_lines(lines).await;
                unfinished.push(client);
            }
        }
        // Nor the handshakes of TLS and WebSocket beneath.
        let mut silent = Vec::new();
        if transport.is_websocket() {
            let address = server.address().split('/').nth(2).expect("an address");
            for _ in 0..20 {
                silent.push(RawClient::dial(address).await.expect("a connection"));
            }
        }
        server.connect().await.ask(report("a")).await;
        for client in &mut unfinished {
            assert!(!client.has_line(), "there is nothing to say yet");
        }
        let mut last = unfinished.pop().expect("a client");
        last.send_line("").await;
        last.ping().await;
    })
    .await;
}

#[tokio::test]
async fn two_thousand_idle_clients_cost_little_and_hinder_nobody() {
    allow_many_files();
    for backend in Backend::all() {
        for transport in [Transport::Unix, Transport::Tcp, Transport::Ws] {
            let server = TestServer::new(backend, transport).await;
            let mut idle = Vec::new();
            for _ in 0..IDLE {
                idle.push(server.connect().await);
            }
            server.connect().await.ask(report("a")).await;
            idle[0].ping().await;
            idle[IDLE - 1].ping().await;
            has_stayed_small(&server);
        }
    }
}

#[tokio::test]
async fn who_comes_when_all_places_are_taken_waits_for_one() {
    each_place(async |backend, transport| {
        let arguments = ["--max-connections", "3", "--max-connections-per-peer", "9"];
        let server = Launch::new(backend, transport).args(arguments).start().await;
        let places = if transport == Transport::Unix { 3 + RESERVED_UNIX_CONNECTIONS } else { 3 };
        let mut clients = Vec::new();
        for _ in 0..places {
            let mut client = server.connect().await;
            client.ping().await;
            clients.push(client);
        }
        let address = server.address().to_owned();
        // Over a WebSocket even the connecting waits.
        let mut late = tokio::spawn(async move {
            let mut client = RawClient::open(&address).await;
            client.ping().await;
            client
        });
        for _ in 0..50 {
            clients[0].ping().await;
            tokio::task::yield_now().await;
        }
        assert!(!late.is_finished(), "there was no place for it");
        drop(clients.pop());
        (&mut late).await.expect("served at last").ping().await;
    })
    .await;
}

fn has_stayed_small(server: &TestServer) {
    let peak = server.peak_mib();
    assert!(peak < MEMORY, "the server has held {peak} MiB");
}

/// Raises the limit for open files as far as it goes.
fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a higher limit");
    assert!(
        limit.current.is_none_or(|files| files > IDLE as u64 + 500),
        "too few files may be open: {limit:?}"
    );
}
