//! What was acknowledged is kept, however the server ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashserv_tests::{
    Backend, HANDSHAKE, RawClient, Signal, TestServer, Transport, eventually, report, task_of, unihash_of,
};
use tokio::task::JoinSet;

/// How many clients report at once.
const CLIENTS: usize = 12;

/// How many reports a client sends before it reads their replies.
const PIPELINE: usize = 5;

/// How many reports are acknowledged before the server has to end.
const ENOUGH: usize = 300;

#[tokio::test]
async fn every_acknowledged_report_survives_a_kill() {
    survives(Signal::KILL).await;
}

#[tokio::test]
async fn every_acknowledged_report_survives_a_stop() {
    survives(Signal::TERM).await;
}

async fn survives(signal: Signal) {
    for backend in Backend::all() {
        for transport in Transport::ALL {
            let mut server = TestServer::new(backend, transport).await;
            let storm = Storm::start(&server);
            eventually("enough reports are acknowledged", async || {
                server.assert_running();
                (storm.acknowledged.load(Ordering::Relaxed) >= ENOUGH).then_some(())
            })
            .await;
            server.signal(signal);
            let status = server.ended().await;
            assert_eq!(status.code(), (signal == Signal::TERM).then_some(0), "{}", server.log());
            let names = storm.end().await;
            assert!(names.len() >= ENOUGH);
            server.start_again().await;
            assert_all_known(&server, &names).await;
        }
    }
}

/// Many clients that report until the server ends.
struct Storm {
    acknowledged: Arc<AtomicUsize>,
    clients: JoinSet<Vec<String>>,
}

impl Storm {
    fn start(server: &TestServer) -> Self {
        let acknowledged = Arc::new(AtomicUsize::new(0));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(storm(client, server.address().to_owned(), acknowledged.clone()));
        }
        Storm { acknowledged, clients }
    }

    /// Waits until all clients have noticed the end of the server; returns which reports were acknowledged.
    async fn end(self) -> Vec<String> {
        self.clients.join_all().await.concat()
    }
}

/// Reports new tasks until the connection fails; returns those that were acknowledged.
async fn storm(client: usize, address: String, counter: Arc<AtomicUsize>) -> Vec<String> {
    let mut connection = RawClient::dial(&address).await.unwrap_or_else(|error| panic!("{address}: {error}"));
    connection.send_lines(&HANDSHAKE).await;
    let mut acknowledged = Vec::new();
    for round in 0.. {
        let names: Vec<String> = (0..PIPELINE).map(|number| format!("{client}/{round}/{number}")).collect();
        let requests: Vec<String> = names.iter().map(|name| report(name).to_string()).collect();
        if connection.try_send_lines(&requests).await.is_err() {
            break;
        }
        for name in names {
            let Ok(Some(reply)) = connection.try_line().await else { return acknowledged };
            assert!(
                reply.contains(&unihash_of(&name)),
                "a report is recorded or the connection closed: {reply}"
            );
            acknowledged.push(name);
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

async fn assert_all_known(server: &TestServer, names: &[String]) {
    let taskhashes: Vec<String> = names.iter().map(|name| task_of(name)).collect();
    let unihashes = server.connect().await.unihashes(&taskhashes).await;
    let lost: Vec<&String> = names
        .iter()
        .zip(&unihashes)
        .filter(|(name, unihash)| **unihash != unihash_of(name))
        .map(|(name, _)| name)
        .collect();
    assert!(lost.is_empty(), "{} of {} reports are lost: {lost:?}", lost.len(), names.len());
}
