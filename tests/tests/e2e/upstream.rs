//! A server that pulls from another one, and what goes wrong with that.

use hashserv_tests::{
    Backend, Launch, METHOD, RawClient, TestServer, Transport, eventually, get, hash, report, report_of,
    task_of, unihash_of,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use crate::everywhere::each_place;

/// What would be run on every builder if it came through.
const HOSTILE: &str = "${@os.system('true')}";

async fn pulling_from(address: &str, backend: Backend) -> TestServer {
    let launch =
        Launch::new(backend, Transport::Unix).args(["--upstream", address, "--upstream-timeout", "1"]);
    launch.args(["--upstream-negative-ttl", "0"]).start().await
}

#[tokio::test]
async fn what_the_upstream_knows_is_answered_and_kept() {
    each_place(async |backend, transport| {
        let mut upstream = TestServer::new(backend, transport).await;
        let names: Vec<String> = (0..500).map(|number| number.to_string()).collect();
        let mut client = upstream.connect().await;
        for name in &names {
            client.send(&report(name)).await;
        }
        for _ in &names {
            client.message().await;
        }
        let authority = upstream.authority().display().to_string();
        let launch = Launch::new(backend, transport).args(["--upstream", upstream.address()]);
        let launch = if transport == Transport::Wss {
            launch.env("HASHSERVER_UPSTREAM_CA", &authority)
        } else {
            launch
        };
        let server = launch.start().await;
        let mut client = server.connect().await;
        assert_eq!(client.ask(get(&task_of("0"))).await["unihash"], unihash_of("0"));
        assert_eq!(client.ask(get("unknown")).await, Value::Null);
        let tasks: Vec<String> = names.iter().map(|name| task_of(name)).collect();
        let unihashes: Vec<String> = names.iter().map(|name| unihash_of(name)).collect();
        assert!(client.unihashes(&tasks).await == unihashes, "not all are known");
        client.ask(json!({"backfill-wait": null})).await;
        upstream.kill().await;
        assert!(client.unihashes(&tasks).await == unihashes, "not all were kept");
    })
    .await;
}

#[tokio::test]
async fn nothing_is_reported_to_the_upstream() {
    for backend in Backend::all() {
        let upstream = TestServer::new(backend, Transport::Unix).await;
        upstream.connect().await.ask(report_of("theirs", "same", &unihash_of("theirs"))).await;
        let server = pulling_from(upstream.address(), backend).await;
        let mut client = server.connect().await;
        let reply = client.ask(report_of("ours", "same", &unihash_of("ours"))).await;
        assert_eq!(reply["unihash"], unihash_of("theirs"), "equivalent to what the upstream knows");
        client.ask(report("new")).await;
        client.ask(json!({"backfill-wait": null})).await;
        assert_eq!(upstream.connect().await.unihashes(&["ours", &task_of("new")]).await, ["", ""]);
    }
}

#[tokio::test]
async fn an_upstream_that_is_away_costs_its_answers_only_and_is_used_when_it_is_back() {
    for backend in Backend::all() {
        let mut upstream = TestServer::new(backend, Transport::Unix).await;
        upstream.connect().await.ask(report("a")).await;
        upstream.kill().await;
        let server = pulling_from(upstream.address(), backend).await;
        let mut client = server.connect().await;
        for _ in 0..50 {
            is_served_locally(&mut client).await;
        }
        let log = server.log();
        assert_eq!(log.lines().filter(|line| line.contains("WARN")).count(), 1, "one line a change: {log}");
        upstream.start_again().await;
        eventually("the upstream is used again", async || {
            (client.ask(get(&task_of("a"))).await["unihash"] == unihash_of("a")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_upstream_that_never_answers_costs_its_answers_only() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    for backend in Backend::all() {
        let server = pulling_from(&address, backend).await;
        let mut client = server.connect().await;
        is_served_locally(&mut client).await;
        is_served_locally(&mut client).await;
    }
}

#[tokio::test]
async fn what_is_no_unihash_is_never_taken_from_an_upstream() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("hostile.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let hostile = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_with_hostile_hashes(stream));
        }
    });
    for backend in Backend::all() {
        let server = pulling_from(&format!("unix://{}", path.display()), backend).await;
        let mut client = server.connect().await;
        let row = json!({"get": {"method": METHOD, "taskhash": task_of("a"), "all": true}});
        assert_eq!(client.ask(row).await, Value::Null);
        is_served_locally(&mut client).await;
        client.ask(json!({"backfill-wait": null})).await;
        let usage = client.ask(json!({"get-db-usage": null})).await;
        assert_eq!(usage["usage"]["unihashes_v3"]["rows"], 1, "the report alone: {usage}");
        assert!(server.log().contains("WARN"), "{}", server.log());
    }
    hostile.abort();
}

#[tokio::test]
async fn a_read_only_server_cannot_have_an_upstream() {
    for backend in Backend::all() {
        let launch =
            Launch::new(backend, Transport::Unix).args(["--read-only", "--upstream", "unix://nowhere"]);
        let failed = launch.start_failing().await;
        assert_eq!(failed.status, Some(2));
        assert!(
            failed.log.contains("Read-only hashserv cannot pull from an upstream server"),
            "{}",
            failed.log
        );
        assert_eq!(failed.log.lines().count(), 1, "{}", failed.log);
    }
}

/// Every kind of request is answered from what is known here, on one connection.
async fn is_served_locally(client: &mut RawClient) {
    assert_eq!(client.ask(get(&task_of("a"))).await, Value::Null);
    assert_eq!(client.unihashes(&[task_of("a"), task_of("b")]).await, ["", ""]);
    client.send_lines(&["{\"exists-stream\": null}", &unihash_of("a"), "END"]).await;
    for expected in ["\"ok\"", "false", "ok"] {
        assert_eq!(client.line().await, expected);
    }
    let outhash = json!({"get-outhash": {"method": METHOD, "outhash": hash("out a"), "taskhash": "T"}});
    assert_eq!(client.ask(outhash).await, Value::Null);
    assert_eq!(client.ask(report("local")).await["unihash"], unihash_of("local"));
}

/// Speaks the protocol, and knows a hostile unihash for whatever it is asked.
async fn answer_with_hostile_hashes(stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut in_stream = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let is_end = line.is_empty() || line == "END";
        let reply = match in_stream {
            None if line.contains("-stream") => {
                in_stream = Some(line.contains("exists"));
                "\"ok\"".to_owned()
            }
            None if !line.starts_with('{') => continue,
            None => json!({
                "id": 1, "method": METHOD, "taskhash": task_of("a"), "outhash": hash("out a"), "unihash": HOSTILE,
                "created": "2026-01-01T00:00:00+00:00", "owner": null, "PN": null, "PV": null, "PR": null, "task": null,
                "outhash_siginfo": null, "gc_mark": "",
            })
            .to_string(),
            Some(_) if is_end => {
                in_stream = None;
                "ok".to_owned()
            }
            Some(true) => "false".to_owned(),
            Some(false) => HOSTILE.to_owned(),
        };
        if writer.write_all(format!("{reply}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}
