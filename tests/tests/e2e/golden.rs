//! Conversations recorded from the reference server, replayed over every transport.
//!
//! `tests/data/golden/conversations.jsonl` is what was recorded, unchanged.
//! `tests/data/golden/differences.jsonl` says where this server means to differ: the steps that take the place of a
//! recorded one, and why. Everything else must be as recorded.

mod matching;
mod replay;
mod scenario;

use futures_util::{StreamExt, stream};
use hashserv_tests::{Backend, Transport};

use replay::replay;
use scenario::{Scenario, scenarios};

/// Scenarios about lines and chunks, which there are none of on a WebSocket.
const STREAMS_ONLY: [&str; 6] = [
    "chunk-stream",
    "chunk-stream-small",
    "chunk-threshold",
    "chunk-stream-malformed",
    "chunk-trailing-blanks",
    "line-too-long",
];

/// How many scenarios run at once; many wait for the pause after a failed login.
const AT_ONCE: usize = 8;

#[tokio::test]
async fn over_a_unix_socket() {
    replay_all(Transport::Unix).await;
}

#[tokio::test]
async fn over_tcp() {
    replay_all(Transport::Tcp).await;
}

#[tokio::test]
async fn over_websocket() {
    replay_all(Transport::Ws).await;
}

#[tokio::test]
async fn over_websocket_with_tls() {
    replay_all(Transport::Wss).await;
}

#[test]
fn the_list_names_scenarios_that_exist() {
    let all = scenarios();
    for name in STREAMS_ONLY {
        assert!(all.iter().any(|scenario| scenario.name == name), "there is no scenario {name}");
    }
}

/// Replays all that fits the transport, and tells of every scenario that fails.
async fn replay_all(transport: Transport) {
    let chosen = scenarios().into_iter().filter(|scenario| fits(scenario, transport));
    let runs =
        Backend::all().into_iter().flat_map(|backend| chosen.clone().map(move |chosen| (backend, chosen)));
    let failures: Vec<String> = stream::iter(runs)
        .map(|(backend, scenario)| async move {
            let outcome = replay(&scenario, backend, transport).await;
            outcome.err().map(|error| format!("{} on {backend:?}: {error}", scenario.name))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failure| failure)
        .collect()
        .await;
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

fn fits(scenario: &Scenario, transport: Transport) -> bool {
    let name = scenario.name.as_str();
    match transport.is_websocket() {
        true => !STREAMS_ONLY.contains(&name),
        false => scenario.transport == "stream",
    }
}
