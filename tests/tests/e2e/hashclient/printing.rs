//! Output that cannot be written, or that nobody reads.

use std::fs::{File, OpenOptions};
use std::process::Stdio;

use hashserv_tests::{
    Backend, Launch, METHOD, TestServer, Transport, hashclient, report, task_of, unihash_of,
};
use tokio::io::AsyncWriteExt;

/// Status and standard error of a run whose standard output goes there.
async fn run(server: &TestServer, arguments: &[&str], input: &str, output: Stdio) -> (Option<i32>, String) {
    let mut child = hashclient(server).args(arguments).stdout(output).spawn().expect("a running client");
    let mut stdin = child.stdin.take().expect("standard input");
    // The client need not read it.
    drop(stdin.write_all(input.as_bytes()).await);
    drop(stdin);
    let output = child.wait_with_output().await.expect("the end");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn full_disk() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("/dev/full").into()
}

/// A pipe whose reader is gone.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

async fn with_report() -> TestServer {
    let launch = Launch::new(Backend::all()[0], Transport::Unix).with_admin("@read,@report,@db-admin");
    let server = launch.start().await;
    server.connect().await.ask(report("a")).await;
    server
}

#[tokio::test]
async fn output_that_is_lost_is_no_success() {
    let server = with_report().await;
    let (task, uni) = (task_of("a"), unihash_of("a"));
    let commands: [&[&str]; 19] = [
        &["get", METHOD, &task],
        &["get", "--stdin"],
        &["get-outhash", METHOD, "unknown", &task, "--help"],
        &["stats"],
        &["ping", "-n", "1"],
        &["ping", "-n", "1", "--json"],
        &["stress", "--clients", "1", "--requests", "1"],
        &["report-equiv", "--method", METHOD, "--taskhash", &task, "--unihash", &uni],
        &["report", "--method", METHOD, "--taskhash", &task, "--outhash", "O", "--unihash", &uni],
        &["unihash-exists", &uni],
        &["remove"],
        &["clean-unused", "3600"],
        &["gc-status"],
        &["gc-mark", "M", "-w", "unihash", &uni],
        &["gc-sweep", "M"],
        &["get-db-usage"],
        &["get-db-query-columns"],
        &["-l", "admin", "-p", "secret", "get-all-users"],
        &["--help"],
    ];
    let input = format!("{METHOD} {task}\n").repeat(2000);
    for command in commands {
        let (status, errors) = run(&server, command, &input, full_disk()).await;
        assert_eq!(status, Some(1), "{command:?}: {errors}");
        assert!(!errors.contains("panicked"), "{command:?}: {errors}");
        let (status, errors) = run(&server, command, &input, closed_pipe()).await;
        if command != ["gc-sweep", "M"] {
            assert_eq!((status, errors.as_str()), (Some(1), ""), "{command:?}");
        }
    }
}

#[tokio::test]
async fn token_that_is_lost_is_told() {
    let server = with_report().await;
    let admin = ["-l", "admin", "-p", "secret"];
    for (name, output) in [("alice", full_disk()), ("bob", closed_pipe())] {
        let (status, errors) =
            run(&server, &[&admin[..], &["new-user", "-u", name]].concat(), "", output).await;
        assert_eq!(status, Some(1), "{errors}");
        assert!(errors.contains(&format!("the new token of '{name}' is lost")), "{errors}");
    }
    let refresh = [&admin[..], &["refresh-token", "--json", "-u", "alice"]].concat();
    let (status, errors) = run(&server, &refresh, "", closed_pipe()).await;
    assert_eq!(status, Some(1), "{errors}");
    assert!(errors.contains("the new token of 'alice' is lost"), "{errors}");
}

#[tokio::test]
async fn standard_error_that_cannot_be_written_is_no_panic() {
    let server = with_report().await;
    for errors in [full_disk as fn() -> Stdio, closed_pipe] {
        for (arguments, expected) in [
            (&["--log", "TRACE", "stats"][..], 0),
            (&["--log", "TRACE", "gc-sweep", "N"], 1),
            (&["no-such-command"], 2),
        ] {
            let child =
                hashclient(&server).args(arguments).stderr(errors()).spawn().expect("a running client");
            let output = child.wait_with_output().await.expect("the end");
            assert_eq!(output.status.code(), Some(expected), "{arguments:?}");
        }
    }
}

#[tokio::test]
async fn no_output_is_needed_where_there_is_none() {
    let server = with_report().await;
    let null = File::options().write(true).open("/dev/null").expect("/dev/null");
    assert_eq!(run(&server, &["stats"], "", null.into()).await, (Some(0), String::new()));
    let quiet = ["unihash-exists", "--quiet", &unihash_of("a")];
    assert_eq!(run(&server, &quiet, "", full_disk()).await.0, Some(0));
}
