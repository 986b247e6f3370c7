//! Removing, collecting garbage, figures, users.

use hashserv_tests::{Launch, TestServer, report, run_hashclient, task_of, unihash_of};

use super::{complaint, json, output};
use crate::everywhere::{everywhere, everywhere_with};

async fn report_all(server: &TestServer, names: &[&str]) {
    let mut client = server.connect().await;
    for name in names {
        client.ask(report(name)).await;
    }
}

#[tokio::test]
async fn rows_are_removed_and_cleaned() {
    everywhere(async |server| {
        report_all(server, &["a", "b", "c"]).await;
        assert_eq!(output(server, &["remove"]).await, "No query specified\n");
        assert_eq!(output(server, &["remove", "-w", "taskhash", &task_of("a")]).await, "Removed 2 row(s)\n");
        let words =
            ["remove", "--where", "unihash", &unihash_of("b"), "--where", "method", "TestMethod", "--json"];
        // The outhashes have no unihash: of them all of the method go.
        assert_eq!(json(server, &words).await["count"], 3);
        report_all(server, &["b"]).await;
        output(server, &["remove", "-w", "unihash", &unihash_of("b")]).await;
        assert_eq!(output(server, &["clean-unused", "3600"]).await, "Removed 0 rows\n");
        assert_eq!(output(server, &["clean-unused", "0"]).await, "Removed 1 rows\n");
        assert_eq!(json(server, &["clean-unused", "0", "--json"]).await["count"], 0);
    })
    .await;
}

#[tokio::test]
async fn garbage_is_collected() {
    everywhere(async |server| {
        report_all(server, &["a", "b", "c", "d"]).await;
        assert_eq!(output(server, &["gc-status"]).await, "No Garbage collection in progress\n");
        let marked = output(server, &["gc-mark", "M", "-w", "unihash", &unihash_of("a")]).await;
        assert_eq!(marked, "New hashes marked: 1\n");
        let input = format!("unihash {}\n\ntaskhash {} method TestMethod\n", unihash_of("b"), task_of("c"));
        let run = run_hashclient(server, &["gc-mark-stream", "M"], &input).await;
        assert_eq!(run.succeeded(), "New hashes marked: 2\n");
        let status = output(server, &["gc-status"]).await;
        assert_eq!(status, "Current Mark: M\nTotal hashes to keep: 3\nTotal hashes to remove: 1\n");
        assert_eq!(json(server, &["gc-status", "--json"]).await["mark"], "M");
        let refusal = complaint(server, &["gc-sweep", "N"]).await;
        assert_eq!(refusal, "ERROR: 'N' is not the current mark. Refusing to sweep");
        assert_eq!(output(server, &["gc-sweep", "M"]).await, "Removed 1 rows\n");
    })
    .await;
}

#[tokio::test]
async fn many_marks_go_through_a_pipe() {
    everywhere(async |server| {
        report_all(server, &["a", "b"]).await;
        let marks: String =
            (0..5000).map(|number| format!("unihash {}\n", unihash_of(&number.to_string()))).collect();
        let input = format!("{marks}unihash {}\n", unihash_of("a"));
        let run = run_hashclient(server, &["gc-mark-stream", "M"], &input).await;
        assert_eq!(run.succeeded(), "New hashes marked: 1\n");
        let run = run_hashclient(server, &["gc-mark-stream", "M"], "unihash a\nunihash\n").await;
        assert!(run.failed().starts_with("ERROR: line 2 of standard input"));
    })
    .await;
}

#[tokio::test]
async fn figures_and_columns_are_printed() {
    everywhere(async |server| {
        report_all(server, &["a"]).await;
        let table = output(server, &["get-db-usage"]).await;
        let last = table.lines().last().unwrap_or_default();
        assert!(table.contains("unihashes_v3") && last.trim_start().starts_with("Total"), "{table}");
        assert_eq!(json(server, &["get-db-usage", "--json"]).await["usage"]["unihashes_v3"]["rows"], 1);
        let columns = output(server, &["get-db-query-columns"]).await;
        let mut sorted: Vec<&str> = columns.lines().collect();
        sorted.sort_unstable();
        assert_eq!(columns.lines().collect::<Vec<_>>(), sorted);
        assert!(sorted.contains(&"outhash_siginfo"), "{columns}");
        json(server, &["get-db-query-columns", "--json"]).await;
    })
    .await;
}

#[tokio::test]
async fn users_are_managed() {
    everywhere_with(with_admin, async |server| {
        let admin = |words: &[&'static str]| [&["--login", "admin", "--password", "secret"], words].concat();
        let made = output(server, &admin(&["new-user", "-u", "alice", "@read", "@report"])).await;
        let (told, token) = made.trim_end().split_once("\nToken:       ").expect("a token");
        assert_eq!(told, "Username:    alice\nPermissions: @read @report");
        assert_eq!(token.len(), 64);
        let alice = ["-l", "alice", "-p", token];
        let own = [&alice[..], &["get-user"]].concat();
        assert_eq!(output(server, &own).await, "Username:    alice\nPermissions: @read @report\n");
        let renewed = json(server, &[&alice[..], &["refresh-token", "--json"]].concat()).await;
        assert_eq!(renewed["username"], "alice");
        assert_eq!(complaint(server, &own).await, "ERROR: Unable to authenticate as alice");
        let changed = output(server, &admin(&["set-user-perms", "-u", "alice", "@db-admin"])).await;
        assert_eq!(changed, "Username:    alice\nPermissions: @db-admin\n");
        let table = output(server, &admin(&["get-all-users"])).await;
        assert!(table.contains("alice") && table.contains("@db-admin"), "{table}");
        let users = json(server, &admin(&["get-all-users", "--json"])).await;
        assert_eq!(users["users"].as_array().map(Vec::len), Some(2));
        let acting = json(server, &admin(&["--become", "alice", "get-user", "--json"])).await;
        assert_eq!(acting["username"], "alice");
        let renewed = output(server, &admin(&["refresh-token", "-u", "alice"])).await;
        assert!(renewed.starts_with("Username:    alice\nToken:       "), "{renewed}");
        assert_eq!(output(server, &admin(&["delete-user", "-u", "alice"])).await, "Username:    alice\n");
        let gone = complaint(server, &admin(&["delete-user", "-u", "alice"])).await;
        assert_eq!(gone, "ERROR: No user named 'alice' exists");
    })
    .await;
}

fn with_admin(launch: Launch) -> Launch {
    launch.with_admin("@none")
}
