//! Several servers on one database.

use std::collections::BTreeSet;

use hashserv_tests::{
    Backend, Database, Launch, RawClient, TestServer, Transport, get, hash, report_of, task_of, unihash_of,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// How many servers share the database.
const SERVERS: usize = 3;

/// How many clients each of them has.
const CLIENTS: usize = 6;

/// How many outputs all of them report at the same instant, one after the other.
const OUTPUTS: usize = 25;

async fn servers(backend: Backend) -> Vec<TestServer> {
    let database = backend.create();
    let mut servers = Vec::new();
    for _ in 0..SERVERS {
        servers.push(server(&database).await);
    }
    servers
}

async fn server(database: &std::sync::Arc<Database>) -> TestServer {
    Launch::on(database.clone(), Transport::Unix).start().await
}

/// Connected clients of all servers in turn.
async fn clients(servers: &[TestServer], each: usize) -> Vec<RawClient> {
    let mut clients = Vec::new();
    for number in 0..each * servers.len() {
        clients.push(servers[number % servers.len()].connect().await);
    }
    clients
}

/// Has every client make its request at the same instant, and gives the replies.
async fn all_at_once(
    clients: Vec<RawClient>,
    request: impl Fn(usize) -> Value,
) -> (Vec<RawClient>, Vec<Value>) {
    let barrier = std::sync::Arc::new(tokio::sync::Barrier::new(clients.len()));
    let mut asking = JoinSet::new();
    for (number, mut client) in clients.into_iter().enumerate() {
        let (barrier, request) = (barrier.clone(), request(number));
        asking.spawn(async move {
            barrier.wait().await;
            let reply = client.ask(request).await;
            (client, reply)
        });
    }
    asking.join_all().await.into_iter().unzip()
}

#[tokio::test]
async fn one_output_reported_everywhere_at_once_gets_one_unihash() {
    for backend in Backend::all() {
        let servers = servers(backend).await;
        let mut clients = clients(&servers, CLIENTS).await;
        for output in 0..OUTPUTS {
            let name = |client: usize| format!("{output}/{client}");
            let outhash = hash(&format!("out {output}"));
            let request = |client| report_of(&task_of(&name(client)), &outhash, &unihash_of(&name(client)));
            let replies;
            (clients, replies) = all_at_once(clients, request).await;
            let told: BTreeSet<&str> = replies.iter().filter_map(|reply| reply["unihash"].as_str()).collect();
            assert_eq!(told.len(), 1, "{backend:?}: the replies agree: {replies:?}");
            for server in &servers {
                let taskhashes: Vec<String> =
                    (0..SERVERS * CLIENTS).map(|client| task_of(&name(client))).collect();
                let stored = server.connect().await.unihashes(&taskhashes).await;
                assert!(
                    stored.iter().all(|unihash| told.contains(unihash.as_str())),
                    "{backend:?}: {stored:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn one_task_given_unihashes_everywhere_at_once_keeps_one() {
    for backend in Backend::all() {
        let servers = servers(backend).await;
        let mut clients = clients(&servers, CLIENTS).await;
        for round in 0..OUTPUTS {
            let task = task_of(&round.to_string());
            // Half of them report the task with outputs of their own, half give it a unihash directly.
            let request = |client: usize| {
                let (outhash, unihash) =
                    (hash(&format!("{round} {client}")), unihash_of(&client.to_string()));
                let mut request = report_of(&task, &outhash, &unihash);
                if client.is_multiple_of(2) {
                    request = json!({"report-equiv": request["report"].take()});
                }
                request
            };
            let replies;
            (clients, replies) = all_at_once(clients, request).await;
            let told: BTreeSet<&str> = replies.iter().filter_map(|reply| reply["unihash"].as_str()).collect();
            assert_eq!(told.len(), 1, "{backend:?}: the replies agree: {replies:?}");
            let stored = servers[0].connect().await.ask(get(&task)).await;
            assert!(told.contains(stored["unihash"].as_str().unwrap_or_default()), "{backend:?}: {stored}");
        }
    }
}

#[tokio::test]
async fn what_is_reported_during_a_collection_is_never_swept() {
    for backend in Backend::all() {
        let servers = servers(backend).await;
        let mut reporting = JoinSet::new();
        let (raised, flag) = flag();
        for client in 0..SERVERS * 2 {
            let connection = servers[client % SERVERS].connect().await;
            reporting.spawn(report_until(connection, client, flag.clone()));
        }
        let mut collector = servers[0].connect().await;
        for collection in 0..8 {
            let mark = format!("mark {collection}");
            collector.ask(json!({"gc-mark": {"mark": mark, "where": {}}})).await;
            // What is acknowledged from here on carries the mark.
            let name = format!("during {collection}");
            let mut other = servers[collection % SERVERS].connect().await;
            other.ask(report_of(&task_of(&name), &hash(&name), &unihash_of(&name))).await;
            let swept = collector.ask(json!({"gc-sweep": {"mark": mark}})).await;
            assert!(swept["count"].is_u64(), "{swept}");
            let known = servers[SERVERS - 1].connect().await.ask(get(&task_of(&name))).await;
            assert!(
                known.is_object(),
                "{backend:?}: what was reported during collection {collection} is kept"
            );
        }
        drop(raised);
        for reported in reporting.join_all().await {
            assert!(reported > 0, "reports went on beside the collections");
        }
    }
}

/// A flag that is lowered by dropping its first half.
fn flag() -> (tokio::sync::watch::Sender<()>, tokio::sync::watch::Receiver<()>) {
    tokio::sync::watch::channel(())
}

/// Reports new tasks until the flag is lowered; tells how many were acknowledged.
async fn report_until(
    mut connection: RawClient,
    client: usize,
    flag: tokio::sync::watch::Receiver<()>,
) -> usize {
    for number in 0.. {
        let name = format!("{client}/{number}");
        let reply = connection.ask(report_of(&task_of(&name), &hash(&name), &unihash_of(&name))).await;
        assert_eq!(reply["unihash"], unihash_of(&name), "{reply}");
        if flag.has_changed().is_err() {
            return number + 1;
        }
    }
    0
}

#[tokio::test]
async fn users_made_on_one_server_log_in_on_another() {
    for backend in Backend::all() {
        let database = backend.create();
        let with_admin =
            async || Launch::on(database.clone(), Transport::Unix).with_admin("@none").start().await;
        let (one, other) = (with_admin().await, with_admin().await);
        let mut admin = one.log_in("admin", "secret").await;
        let user = admin.ask(json!({"new-user": {"username": "alice", "permissions": ["@read"]}})).await;
        let mut alice = other.log_in("alice", user["token"].as_str().expect("a token")).await;
        assert_eq!(alice.ask(get(&task_of("none"))).await, Value::Null);
    }
}
