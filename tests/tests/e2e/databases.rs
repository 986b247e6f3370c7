//! Databases of other servers, shared ones, and ones that can only be read.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use hashserv_tests::{
    Backend, Database, Launch, TestServer, Transport, eventually, get, hash, report, report_of, task_of,
    unihash_of,
};
use serde_json::{Value, json};

use crate::everywhere::each_place;

/// The method in the reference databases.
const METHOD: &str = "oe.sstatesig.OEOuthashBasic";

async fn on_reference(name: &str, arguments: &[&str]) -> TestServer {
    let database = Database::copy_of(&data(name));
    Launch::on(database, Transport::Unix).args(arguments.iter().copied()).start().await
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(name)
}

async fn unihash(server: &TestServer, taskhash: &str) -> Value {
    let request = json!({"get": {"method": METHOD, "taskhash": taskhash}});
    server.connect().await.ask(request).await["unihash"].take()
}

#[tokio::test]
async fn what_the_reference_server_stored_is_served() {
    let mut server = on_reference("reference-v3.db", &[]).await;
    for restarted in [false, true] {
        if restarted {
            server.stop().await;
            server.start_again().await;
        }
        for task in 0..60 {
            let expected = hash(&format!("uni{}", task / 3 * 3));
            assert_eq!(unihash(&server, &hash(&format!("task{task}"))).await, expected);
        }
        for task in 60..64 {
            assert_eq!(unihash(&server, &hash(&format!("task{task}"))).await, hash(&format!("uni{task}")));
        }
    }
    let request = json!({"get-outhash": {"method": METHOD, "outhash": hash("other-output"), "taskhash": ""}});
    let row = server.connect().await.ask(request).await;
    assert_eq!(row["taskhash"], hash("task5"));
}

#[tokio::test]
async fn users_of_the_reference_server_log_in() {
    let server = on_reference("reference-v3.db", &["--anon-perms", "@none"]).await;
    let text = std::fs::read_to_string(data("databases.json")).expect("databases.json");
    let about: Value = serde_json::from_str(&text).expect("JSON");
    let permissions = [
        ("reader", json!(["@read"])),
        ("builder", json!(["@read", "@report"])),
        ("ops", json!(["@db-admin", "@read"])),
        ("nobody", json!([])),
    ];
    for (name, permissions) in permissions {
        let login = json!({"auth": {"username": name, "token": about["tokens"][name]}});
        let reply = server.connect().await.ask(login).await;
        assert_eq!(reply, json!({"result": true, "username": name, "permissions": permissions}));
    }
    let password = about["admin"][1].as_str().expect("a password");
    let mut admin = server.log_in("admin", password).await;
    let users = admin.ask(json!({"get-all-users": {}})).await;
    assert_eq!(users["users"].as_array().map(Vec::len), Some(5));
}

#[tokio::test]
async fn a_collection_that_the_reference_server_began_goes_on() {
    let server = on_reference("reference-v3.db", &[]).await;
    let mut client = server.connect().await;
    let status = client.ask(json!({"gc-status": {}})).await;
    assert_eq!(status, json!({"keep": 4, "remove": 60, "mark": "2026-11"}));
    let mark = json!({"gc-mark": {"mark": "2026-11", "where": {"unihash": hash("uni3")}}});
    assert_eq!(client.ask(mark).await, json!({"count": 3}));
    client.ask(report("new")).await;
    assert_eq!(client.ask(json!({"gc-sweep": {"mark": "2026-11"}})).await, json!({"count": 57}));
    assert_eq!(client.ask(get(&task_of("new"))).await["unihash"], unihash_of("new"));
    assert_eq!(unihash(&server, &hash("task4")).await, hash("uni3"));
    assert_eq!(unihash(&server, &hash("task9")).await, Value::Null);
}

#[tokio::test]
async fn an_old_database_is_upgraded() {
    let mut server = on_reference("reference-v2.db", &[]).await;
    for restarted in [false, true] {
        if restarted {
            server.stop().await;
            server.start_again().await;
        }
        for task in 0..19 {
            let expected = hash(&format!("uni{}", task / 2 * 2));
            assert_eq!(unihash(&server, &hash(&format!("task{task}"))).await, expected);
        }
        assert_eq!(unihash(&server, &hash("task19")).await, "a".repeat(40), "returned as it is");
    }
    let mut client = server.connect().await;
    let mut request = report_of("new", &hash("out4"), &unihash_of("new"));
    request["report"]["method"] = METHOD.into();
    assert_eq!(client.ask(request).await["unihash"], hash("uni8"), "equivalent to old tasks");
}

#[tokio::test]
async fn servers_on_one_database_see_what_each_other_stores_and_removes() {
    each_place(async |backend, transport| {
        let database = backend.create();
        let (one, other) = (
            Launch::on(database.clone(), transport).start().await,
            Launch::on(database, transport).start().await,
        );
        let (mut writer, mut reader) = (one.connect().await, other.connect().await);
        assert_eq!(reader.ask(get(&task_of("a"))).await, Value::Null);
        writer.ask(report("a")).await;
        let found = reader.ask(get(&task_of("a"))).await;
        assert_eq!(found["unihash"], unihash_of("a"), "seen at the next request");
        let equivalent = report_of("b", &hash("out a"), &unihash_of("b"));
        assert_eq!(reader.ask(equivalent).await["unihash"], unihash_of("a"));
        assert_eq!(writer.unihashes(&["unknown"]).await, [""]);
        writer.ask(json!({"remove": {"where": {"taskhash": task_of("a")}}})).await;
        eventually("the removal is seen by the other server", async || {
            let gone = reader.ask(get(&task_of("a"))).await == Value::Null;
            (gone && reader.unihashes(&[task_of("a")]).await == [""]).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn concurrent_reports_of_one_output_end_with_one_unihash() {
    for backend in Backend::all() {
        let database = backend.create();
        let one = Launch::on(database.clone(), Transport::Unix).start().await;
        let other = Launch::on(database, Transport::Unix).start().await;
        let mut reporting = tokio::task::JoinSet::new();
        for number in 0..24 {
            let mut client = if number % 2 == 0 { one.connect().await } else { other.connect().await };
            reporting.spawn(async move {
                for output in 0..10 {
                    let task = format!("{output}-{number}");
                    client.ask(report_of(&task, &format!("output {output}"), &unihash_of(&task))).await;
                }
            });
        }
        reporting.join_all().await;
        for output in 0..10 {
            let tasks: Vec<String> = (0..24).map(|number| format!("{output}-{number}")).collect();
            let mut unihashes = one.connect().await.unihashes(&tasks).await;
            unihashes.dedup();
            assert!(unihashes.len() == 1 && !unihashes[0].is_empty(), "output {output}: {unihashes:?}");
        }
    }
}

#[tokio::test]
async fn a_database_that_can_only_be_read_is_served_read_only() {
    let mut writer = TestServer::new(Backend::Sqlite, Transport::Unix).await;
    writer.connect().await.ask(report("a")).await;
    writer.stop().await;
    let database = writer.database().clone();
    let file = database.path();
    let directory = file.parent().expect("a directory");
    let permit = |path: &Path, mode| {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("permissions");
    };
    permit(&file, 0o444);
    permit(directory, 0o555);
    let launch = Launch::on(database.clone(), Transport::Unix).unprivileged().args(["--read-only"]);
    let server = launch.start().await;
    assert_is_read_only(&server).await;
    drop(server);
    // So that it can be removed.
    permit(directory, 0o755);
}

#[tokio::test]
async fn a_read_only_server_stores_nothing() {
    each_place(async |backend, transport| {
        let database = backend.create();
        let writer = Launch::on(database.clone(), transport).start().await;
        writer.connect().await.ask(report("a")).await;
        let server = Launch::on(database, transport).args(["--read-only"]).start().await;
        assert_is_read_only(&server).await;
        writer.connect().await.ask(report("b")).await;
        assert_eq!(server.connect().await.ask(get(&task_of("b"))).await["unihash"], unihash_of("b"));
    })
    .await;
}

#[tokio::test]
async fn a_read_only_server_creates_and_upgrades_its_file() {
    let new = Launch::new(Backend::Sqlite, Transport::Unix).args(["--read-only"]).start().await;
    assert_eq!(new.connect().await.ask(get(&task_of("a"))).await, Value::Null);
    assert_eq!(new.connect().await.ask(report("a")).await["unihash"], unihash_of("a"));
    assert_eq!(new.connect().await.ask(get(&task_of("a"))).await, Value::Null, "nothing was stored");
    let old = on_reference("reference-v2.db", &["--read-only"]).await;
    assert_eq!(unihash(&old, &hash("task4")).await, hash("uni4"));
}

/// It knows the report of `a`, and stores no other.
async fn assert_is_read_only(server: &TestServer) {
    let mut client = server.connect().await;
    assert_eq!(client.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
    assert_eq!(client.unihashes(&[task_of("a")]).await, [unihash_of("a")]);
    let equivalent = report_of("c", &hash("out a"), &unihash_of("c"));
    assert_eq!(client.ask(equivalent).await["unihash"], unihash_of("a"));
    assert_eq!(client.ask(report("d")).await["unihash"], unihash_of("d"));
    assert_eq!(client.unihashes(&["c", &task_of("d")]).await, ["", ""]);
    for request in
        [json!({"remove": {"where": {}}}), json!({"gc-mark-stream": null}), json!({"backfill-wait": null})]
    {
        let refusal = server.connect().await.ask_refused(&request).await;
        assert!(refusal.contains("read-only"), "{refusal}");
    }
}
