//! Mistakes that would cost data, and servers that restart.

use std::sync::Arc;

use hashserv_tests::{
    Backend, Launch, METHOD, TestServer, Transport, get, hashclient, report, run_hashclient, task_of,
    unihash_of,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::{complaint, output};
use crate::everywhere::everywhere;

async fn usage(server: &TestServer, arguments: &[&str], input: &str) -> String {
    let run = run_hashclient(server, arguments, input).await;
    assert_eq!(run.status, Some(2), "{}{}", run.output, run.errors);
    assert_eq!(run.output, "");
    run.errors
}

#[tokio::test]
async fn mistyped_column_removes_and_marks_nothing() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report("a")).await;
        let told = usage(server, &["remove", "-w", "PNN", "x", "-w", "method", METHOD], "").await;
        assert!(told.contains("'PNN'"), "{told}");
        assert_eq!(client.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
        let told = usage(server, &["gc-mark", "M", "-w", "metod", "x"], "").await;
        assert!(told.contains("'metod'"), "{told}");
        usage(server, &["gc-mark", "M"], "").await;
        let told = usage(server, &["gc-mark-stream", "M"], "metod x\n").await;
        assert!(told.contains("line 1 ") && told.contains("'metod'"), "{told}");
        assert_eq!(output(server, &["gc-status"]).await, "No Garbage collection in progress\n");
        assert_eq!(output(server, &["remove", "-w", "id", "0"]).await, "Removed 0 row(s)\n");
    })
    .await;
}

#[tokio::test]
async fn sweep_that_keeps_nothing_needs_a_confirmation() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        client.ask(report("a")).await;
        output(server, &["gc-mark", "M", "-w", "unihash", "unknown"]).await;
        let told = complaint(server, &["gc-sweep", "M"]).await;
        assert!(told.contains("removes all 1 unihashes") && told.contains("--yes"), "{told}");
        assert_eq!(client.ask(get(&task_of("a"))).await["unihash"], unihash_of("a"));
        assert_eq!(output(server, &["gc-sweep", "--yes", "M"]).await, "Removed 1 rows\n");
        assert_eq!(client.ask(get(&task_of("a"))).await, Value::Null);
        output(server, &["gc-mark", "M", "-w", "unihash", "unknown"]).await;
        assert_eq!(output(server, &["gc-sweep", "M"]).await, "Removed 0 rows\n", "there was nothing to lose");
    })
    .await;
}

#[tokio::test]
async fn report_that_is_not_recorded_is_an_error() {
    let uni = unihash_of("a");
    let words = ["report", "--method", METHOD, "--taskhash", "T", "--outhash", "O", "--unihash", &uni];
    let database = Backend::all()[0].create();
    let mut writing = Launch::on(Arc::clone(&database), Transport::Unix).start().await;
    let run = run_hashclient(&writing, &words, "").await;
    assert_eq!((run.status, run.output.trim_end(), run.errors.as_str()), (Some(0), &*uni, ""));
    writing.stop().await;
    let read_only = Launch::on(database, Transport::Unix).args(["--read-only"]).start().await;
    let unprivileged =
        Launch::new(Backend::all()[0], Transport::Unix).args(["--anon-perms", "@read"]).start().await;
    for server in [read_only, unprivileged] {
        let run = run_hashclient(&server, &words, "").await;
        assert_eq!((run.status, run.output.trim_end()), (Some(1), &*uni));
        assert!(run.errors.starts_with("ERROR: the report was not recorded: "), "{}", run.errors);
        assert_eq!(run.errors.lines().count(), 1);
    }
}

#[tokio::test]
async fn server_that_restarts_is_waited_for() {
    let mut server = TestServer::new(Backend::all()[0], Transport::Unix).await;
    server.stop().await;
    let mut command = hashclient(&server);
    command.env("HASHSERVER_RETRY_FOR", "60").args(["--log", "INFO", "stats"]);
    let mut child = command.spawn().expect("a running client");
    let mut errors = BufReader::new(child.stderr.take().expect("standard error")).lines();
    let first = errors.next_line().await.expect("a line").expect("a line");
    assert!(first.contains("retrying"), "{first}");
    server.start_again().await;
    let output = child.wait_with_output().await.expect("the end");
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("requests"));
}

#[tokio::test]
async fn netrc_that_cannot_be_used_is_warned_of() {
    let server = TestServer::new(Backend::all()[0], Transport::Unix).await;
    let exposed = server.directory().join("exposed");
    let login = format!("machine {} login u password secret\n", server.address());
    std::fs::write(&exposed, login).expect("a file");
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&exposed, readable).expect("permissions");
    let malformed = server.directory().join("malformed");
    std::fs::write(&malformed, "machin secret").expect("a file");
    let missing = server.directory().join("missing");
    for (netrc, told) in [(exposed, "chmod 600"), (malformed, "line 1"), (missing, "No such file")] {
        let mut command = hashclient(&server);
        let child = command.env("NETRC", netrc).arg("stats").spawn().expect("a running client");
        let output = child.wait_with_output().await.expect("the end");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{errors}");
        assert!(errors.starts_with("WARNING: ") && errors.contains(told), "{errors}");
        assert!(errors.lines().count() == 1 && !errors.contains("secret"), "{errors}");
    }
}
