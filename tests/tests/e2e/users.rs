//! Users, permissions and tokens, over every transport.

use hashserv_tests::{Launch, METHOD, TestServer, eventually, get, report, task_of};
use serde_json::{Value, json};

use crate::everywhere::everywhere_with;

const EVERYTHING: [&str; 5] = ["@all", "@db-admin", "@read", "@report", "@user-admin"];

fn closed(launch: Launch) -> Launch {
    launch.with_admin("@none")
}

#[tokio::test]
async fn a_user_logs_in_and_does_what_is_permitted() {
    everywhere_with(closed, async |server| {
        let token = new_user(server, "reader", &["@read"]).await;
        let mut client = server.connect().await;
        let reply = client.ask(json!({"auth": {"username": "reader", "token": token}})).await;
        assert_eq!(reply, json!({"result": true, "username": "reader", "permissions": ["@read"]}));
        assert_eq!(client.ask(get("a")).await, Value::Null);
        client.ask(report("a")).await;
        assert_eq!(client.ask(json!({"get-user": {}})).await["username"], "reader");
        let refusal = client.ask_refused(&json!({"gc-status": {}})).await;
        assert_eq!(refusal, "reader is not allowed to access permissions(s) @db-admin");
        let mut admin = server.log_in("admin", "secret").await;
        let usage = admin.ask(json!({"get-db-usage": {}})).await;
        assert_eq!(usage["usage"]["outhashes_v2"]["rows"], 0, "who may only read reports nothing");
    })
    .await;
}

#[tokio::test]
async fn anonymous_clients_are_refused_what_they_lack() {
    everywhere_with(closed, async |server| {
        for (request, permissions) in [
            (get("a"), "@read"),
            (report("a"), "@read"),
            (json!({"get-stream": null}), "@read"),
            (json!({"gc-mark-stream": null}), "@db-admin"),
            (json!({"report-equiv": {"method": METHOD, "taskhash": "a", "unihash": "b"}}), "@read, @report"),
            (json!({"remove": {"where": {}}}), "@db-admin"),
            (json!({"get-all-users": null}), "@user-admin"),
            (json!({"get-user": {}}), "@user-admin"),
            (json!({"become-user": {"username": "admin"}}), "@user-admin"),
        ] {
            let refusal = server.connect().await.ask_refused(&request).await;
            let expected = format!("Anonymous user is not allowed to access permissions(s) {permissions}");
            assert_eq!(refusal, expected, "{request}");
        }
        server.connect().await.ping().await;
    })
    .await;
}

#[tokio::test]
async fn users_are_managed() {
    everywhere_with(closed, async |server| {
        let mut admin = server.log_in("admin", "secret").await;
        let token = new_user(server, "alice", &["@report", "@read", "@none"]).await;
        assert_eq!(token.len(), 64);
        let user = |name: &str| json!({"get-user": {"username": name}});
        let alice = json!({"username": "alice", "permissions": ["@read", "@report"]});
        assert_eq!(admin.ask(user("alice")).await, alice);
        assert_eq!(admin.ask(user("nobody")).await, Value::Null);
        let mut users = admin.ask(json!({"get-all-users": {}})).await["users"].take();
        users.as_array_mut().expect("a list").sort_by_key(|user| user["username"].to_string());
        assert_eq!(users, json!([{"username": "admin", "permissions": EVERYTHING}, alice]));
        let change = json!({"set-user-perms": {"username": "alice", "permissions": ["@all"]}});
        assert_eq!(admin.ask(change).await, json!({"username": "alice", "permissions": EVERYTHING}));
        let renewed = admin.ask(json!({"refresh-token": {"username": "alice"}})).await;
        assert_ne!(renewed["token"], token.as_str());
        let old = json!({"auth": {"username": "alice", "token": token}});
        assert_eq!(server.connect().await.ask_refused(&old).await, "Unable to authenticate as alice");
        server.log_in("alice", renewed["token"].as_str().expect("a token")).await.ping().await;
        assert_eq!(
            admin.ask(json!({"delete-user": {"username": "alice"}})).await,
            json!({"username": "alice"})
        );
        assert_eq!(admin.ask(user("alice")).await, Value::Null);
    })
    .await;
}

#[tokio::test]
async fn an_administrator_acts_as_another_user() {
    everywhere_with(closed, async |server| {
        new_user(server, "builder", &["@read", "@report"]).await;
        let mut admin = server.log_in("admin", "secret").await;
        let reply = admin.ask(json!({"become-user": {"username": "builder"}})).await;
        assert_eq!(reply, json!({"username": "builder", "permissions": ["@read", "@report"]}));
        admin.ask(report("a")).await;
        let refusal = admin.ask_refused(&json!({"get-all-users": {}})).await;
        assert!(refusal.starts_with("builder is not allowed"), "{refusal}");
        let mut admin = server.log_in("admin", "secret").await;
        let refusal = admin.ask_refused(&json!({"become-user": {"username": "nobody"}})).await;
        assert_eq!(refusal, "User nobody doesn't exist");
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_users_is_told() {
    everywhere_with(closed, async |server| {
        for (request, expected) in [
            (json!({"new-user": {"username": "admin", "permissions": []}}), "Cannot create new user 'admin'"),
            (
                json!({"new-user": {"username": "x", "permissions": ["@b", "@a", "@read"]}}),
                "Unknown permissions",
            ),
            (
                json!({"new-user": {"username": "x", "permissions": "@read"}}),
                "Unexpected type for permissions",
            ),
            (json!({"set-user-perms": {"username": "x", "permissions": []}}), "No user named 'x' exists"),
            (json!({"refresh-token": {"username": "x"}}), "No user named 'x' exists"),
            (json!({"delete-user": {"username": "x"}}), "No user named 'x' exists"),
        ] {
            let mut admin = server.log_in("admin", "secret").await;
            let refusal = admin.ask_refused(&request).await;
            assert!(refusal.starts_with(expected), "{request}: {refusal}");
        }
        let mut admin = server.log_in("admin", "secret").await;
        assert_eq!(admin.ask(json!({"get-user": {"username": "x"}})).await, Value::Null, "nothing was made");
    })
    .await;
}

#[tokio::test]
async fn what_a_user_loses_is_lost_on_open_connections() {
    everywhere_with(closed, async |server| {
        let token = new_user(server, "alice", &["@read"]).await;
        let mut in_stream = server.log_in("alice", &token).await;
        in_stream.send_line("{\"get-stream\": null}").await;
        assert_eq!(in_stream.line().await, "\"ok\"");
        let mut open = server.log_in("alice", &token).await;
        let mut deleted = server.log_in("alice", &token).await;
        let mut admin = server.log_in("admin", "secret").await;
        admin.ask(json!({"set-user-perms": {"username": "alice", "permissions": []}})).await;
        let expected = "alice is not allowed to access permissions(s) @read";
        assert_eq!(open.ask_refused(&get("a")).await, expected);
        // Whatever came would be taken for a unihash.
        in_stream.send_line("M T").await;
        in_stream.closed().await;
        admin.ask(json!({"set-user-perms": {"username": "alice", "permissions": ["@read"]}})).await;
        assert_eq!(deleted.ask(get("a")).await, Value::Null, "given back");
        admin.ask(json!({"delete-user": {"username": "alice"}})).await;
        assert_eq!(deleted.ask_refused(&get("a")).await, expected);
    })
    .await;
}

#[tokio::test]
async fn a_user_made_anew_is_out_of_reach_of_connections_of_the_old() {
    let open = |launch: Launch| launch.with_admin("@read,@report");
    everywhere_with(open, async |server| {
        let old = new_user(server, "alice", &["@read", "@report"]).await;
        let requests = ["refresh-token", "delete-user"]
            .map(|command| [json!({command: {}}), json!({command: {"username": "alice"}})]);
        let mut connections = Vec::new();
        for request in requests.as_flattened() {
            connections.push((server.log_in("alice", &old).await, request));
        }
        let mut reporting = server.log_in("alice", &old).await;
        let mut admin = server.log_in("admin", "secret").await;
        admin.ask(json!({"delete-user": {"username": "alice"}})).await;
        let token = new_user(server, "alice", &["@read"]).await;
        for (mut connection, request) in connections {
            for get_user in [json!({"get-user": {}}), json!({"get-user": {"username": "alice"}})] {
                assert_eq!(connection.ask(get_user).await, Value::Null);
            }
            assert_eq!(connection.ask_refused(request).await, "No user named 'alice' exists", "{request}");
        }
        server.log_in("alice", &token).await.ping().await;
        reporting.ask(report("a")).await;
        let mut row = get(&task_of("a"));
        row["get"]["all"] = true.into();
        assert_eq!(reporting.ask(row).await["owner"], Value::Null, "it is not hers");
    })
    .await;
}

#[tokio::test]
async fn a_user_renews_the_own_token_and_leaves() {
    everywhere_with(closed, async |server| {
        let token = new_user(server, "alice", &[]).await;
        let mut alice = server.log_in("alice", &token).await;
        let token = alice.ask(json!({"refresh-token": {}})).await["token"].clone();
        let mut alice = server.log_in("alice", token.as_str().expect("a token")).await;
        assert_eq!(
            alice.ask(json!({"delete-user": {"username": "alice"}})).await,
            json!({"username": "alice"})
        );
        let login = json!({"auth": {"username": "alice", "token": token}});
        assert_eq!(server.connect().await.ask_refused(&login).await, "Unable to authenticate as alice");
    })
    .await;
}

#[tokio::test]
async fn last_administrator_can_neither_leave_nor_resign() {
    everywhere_with(closed, async |server| {
        for request in [
            json!({"delete-user": {}}),
            json!({"delete-user": {"username": "admin"}}),
            json!({"set-user-perms": {"username": "admin", "permissions": ["@read", "@db-admin"]}}),
        ] {
            let refusal = server.log_in("admin", "secret").await.ask_refused(&request).await;
            assert!(refusal.starts_with("User 'admin' is the last one who may manage users"), "{refusal}");
        }
        new_user(server, "alice", &["@user-admin"]).await;
        server.log_in("admin", "secret").await.ask(json!({"delete-user": {}})).await;
    })
    .await;
}

#[tokio::test]
async fn pause_after_a_wrong_token_is_no_time_of_a_request() {
    everywhere_with(closed, async |server| {
        let login = json!({"auth": {"username": "admin", "token": "wrong"}});
        // On a busy machine a request may take a second for other reasons, but hardly each time.
        eventually("a request that took less than the pause", async || {
            let mut admin = server.log_in("admin", "secret").await;
            admin.ask(json!({"reset-stats": {}})).await;
            server.connect().await.ask_refused(&login).await;
            let stats = admin.ask(json!({"get-stats": {}})).await;
            let longest = stats["requests"]["max_time"].as_f64().expect("a number");
            (longest < 1.0).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn secrets_are_never_logged() {
    let verbose = |launch: Launch| closed(launch).args(["--log", "TRACE"]);
    everywhere_with(verbose, async |server| {
        let token = new_user(server, "alice", &[]).await;
        server.log_in("alice", &token).await.ping().await;
        let login = json!({"auth": {"username": "alice", "token": "a-wrong-password"}});
        server.connect().await.ask_refused(&login).await;
        let log = server.log();
        assert!(log.contains("has connected"), "{log}");
        for secret in [token.as_str(), "a-wrong-password", "secret"] {
            assert!(!log.contains(secret), "{secret} is in the log: {log}");
        }
    })
    .await;
}

/// Makes a user, and returns the token.
async fn new_user(server: &TestServer, name: &str, permissions: &[&str]) -> String {
    let mut admin = server.log_in("admin", "secret").await;
    let reply = admin.ask(json!({"new-user": {"username": name, "permissions": permissions}})).await;
    reply["token"].as_str().expect("a token").to_owned()
}
