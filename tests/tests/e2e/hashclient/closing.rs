//! The end of a connection, seen from the server.

use hashserv_tests::{
    Backend, Launch, METHOD, Transport, eventually, hashclient, run_hashclient, task_of, unihash_of,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::output;

#[tokio::test]
async fn every_command_closes_its_connection_in_good_order() {
    let (task, uni) = (task_of("a"), unihash_of("a"));
    let report = ["report", "--method", METHOD, "--taskhash", &task, "--outhash", "O", "--unihash", &uni];
    let commands: [&[&str]; 12] = [
        &report,
        &["get", METHOD, &task],
        &["unihash-exists", &uni],
        &["stats"],
        &["ping", "-n", "2"],
        &["stress", "--clients", "2", "--requests", "5"],
        &["get-db-usage"],
        &["get-db-query-columns"],
        &["gc-mark", "M", "-w", "unihash", &uni],
        &["gc-sweep", "M"],
        &["remove", "-w", "taskhash", "unknown"],
        &["clean-unused", "3600"],
    ];
    for transport in Transport::ALL {
        let launch = Launch::new(Backend::all()[0], transport).args(["--log", "INFO"]);
        let mut server = launch.with_admin("@read,@report,@db-admin").start().await;
        for command in commands {
            output(&server, command).await;
        }
        let lines = format!("{METHOD} {task}\n").repeat(3);
        let _ = run_hashclient(&server, &["get", "--stdin"], &lines).await.succeeded();
        let _ = run_hashclient(&server, &["gc-mark-stream", "M"], "method m\n").await.succeeded();
        let usage = run_hashclient(&server, &["remove", "-w", "PNN", "x"], "").await;
        assert_eq!(usage.status, Some(2), "{}", usage.errors);
        let refused = run_hashclient(&server, &["gc-sweep", "N"], "").await;
        assert_eq!(refused.status, Some(1), "{}", refused.errors);
        let login = ["-l", "admin", "-p", "secret", "new-user", "-u", "alice"];
        output(&server, &login).await;
        server.stop().await;
        let log = server.log();
        let connected = log.lines().filter(|line| line.contains("has connected")).count();
        // Two for stress.
        assert_eq!(connected, commands.len() + 6, "{log}");
        for line in log.lines().filter(|line| !line.contains("has connected")) {
            let is_of_a_lost_connection = line.contains(" is gone") || line.contains("failed");
            assert!(!is_of_a_lost_connection, "{transport:?}: {line}");
        }
    }
}

#[tokio::test]
async fn connection_that_is_dropped_is_logged() {
    // The words that the test above looks for.
    let launch = Launch::new(Backend::all()[0], Transport::Ws).args(["--log", "INFO"]);
    let mut server = launch.start().await;
    let mut child = hashclient(&server).args(["get", "--stdin"]).spawn().expect("a running client");
    child.stdin.as_mut().expect("standard input").write_all(b"m unknown\n").await.expect("a line is sent");
    let mut answers = BufReader::new(child.stdout.take().expect("standard output")).lines();
    // With nothing under way, the server has only the end of the connection to notice.
    assert_eq!(answers.next_line().await.expect("a line").as_deref(), Some("m unknown -"));
    child.kill().await.expect("a killed client");
    eventually("the loss is logged", async || server.log().contains(" is gone").then_some(())).await;
    server.stop().await;
}
