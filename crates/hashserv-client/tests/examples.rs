//! Runs the examples against a server in this process.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

mod support {
    pub(crate) mod server;
}

use support::server;

/// Runs an example; returns what it printed.
async fn run(example: &str, arguments: &[&str], input: String) -> String {
    // Cargo builds examples beside the folder of the tests.
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().and_then(Path::parent).unwrap().join("examples").join(example);
    let mut command = Command::new(path);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let writing = tokio::task::spawn_blocking(move || stdin.write_all(input.as_bytes()));
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output = waiting.await.unwrap().unwrap();
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    writing.await.unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn lookup_answers_every_line_in_order() {
    let address = server::start().await;
    // More than fits the buffers in between, so that sending before receiving would hang.
    let lines: String = (0..100_000)
        .map(|number| format!("m {}\n", if number % 2 == 0 { server::KNOWN } else { "x" }))
        .collect();
    let printed = run("lookup", &[&address], lines).await;
    assert_eq!(printed.lines().count(), 100_000);
    let known = format!("m {0} {0}", server::KNOWN);
    assert!(printed.lines().enumerate().all(|(at, line)| line == if at % 2 == 0 { &known } else { "m x -" }));
}

#[tokio::test]
async fn report_prints_the_unihash() {
    let address = server::start().await;
    let new = "0".repeat(64);
    assert_eq!(run("report", &[&address, "m", &new, &new], String::new()).await, format!("{new}\n"));
}

#[tokio::test]
async fn watch_gc_ends_when_no_collection_is_in_progress() {
    let address = server::start().await;
    let printed = run("watch_gc", &[&address], String::new()).await;
    assert_eq!(printed, "no garbage collection in progress\n");
}
