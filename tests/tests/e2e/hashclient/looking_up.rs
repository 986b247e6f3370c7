//! Looking up, reporting, measuring.

use std::process::Stdio;

use hashserv_tests::{
    Backend, METHOD, TestServer, Transport, hash, hashclient, report, run_hashclient, task_of, unihash_of,
};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::{complaint, json, output};
use crate::everywhere::everywhere;

#[tokio::test]
async fn what_is_reported_is_found() {
    everywhere(async |server| {
        let (task, out, uni) = (task_of("a"), hash("out a"), unihash_of("a"));
        let mut words =
            vec!["report", "--method", METHOD, "--taskhash", &task, "--outhash", &out, "--unihash", &uni];
        words.extend(["--owner", "me", "--pn", "pn", "--pv", "1", "--pr", "r0", "--task", "do_compile"]);
        assert_eq!(output(server, &words).await.trim_end(), uni);
        words.push("--json");
        assert_eq!(json(server, &words).await["taskhash"], task);

        let text = output(server, &["get", METHOD, &task]).await;
        assert!(
            text.starts_with("{\n    \"PN\": \"pn\",\n    \"PR\": \"r0\",\n"),
            "sorted, indented by 4: {text}"
        );
        let row: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((&row["unihash"], &row["owner"]), (&uni.as_str().into(), &"me".into()));
        let row = json(server, &["get-outhash", METHOD, &out, &task]).await;
        assert_eq!(row["taskhash"], task);
        assert_eq!(output(server, &["get", METHOD, "unknown"]).await, "", "nothing, and no failure");
        assert_eq!(output(server, &["get-outhash", METHOD, "unknown", "x"]).await, "");
    })
    .await;
}

#[tokio::test]
async fn an_equivalence_is_reported_and_exists() {
    everywhere(async |server| {
        let uni = unihash_of("a");
        let words = ["report-equiv", "--method", METHOD, "--taskhash", "T", "--unihash", &uni];
        assert_eq!(output(server, &words).await.trim_end(), uni);
        assert_eq!(output(server, &["unihash-exists", &uni]).await, "true\n");
        assert_eq!(output(server, &["unihash-exists", "none"]).await, "false\n");
        assert_eq!(json(server, &["unihash-exists", "--json", &uni]).await["exists"], true);
        assert_eq!(output(server, &["unihash-exists", "--quiet", &uni]).await, "");
        let run = run_hashclient(server, &["unihash-exists", "-q", "none"], "").await;
        assert_eq!((run.status, run.output.as_str(), run.errors.as_str()), (Some(1), "", ""));
    })
    .await;
}

#[tokio::test]
async fn a_hundred_thousand_lines_are_looked_up_through_a_pipe() {
    everywhere(async |server| {
        let mut client = server.connect().await;
        for name in ["0", "1", "2"] {
            client.ask(report(name)).await;
        }
        let tasks: Vec<String> = (0..100).map(|number| task_of(&number.to_string())).collect();
        let input: String =
            (0..100_000).map(|number| format!("{METHOD} {}\n", tasks[number % 100])).collect();
        let text = run_hashclient(server, &["get", "--stdin"], &input).await.succeeded();
        assert_eq!(text.lines().count(), 100_000);
        for (number, line) in text.lines().enumerate() {
            let unihash =
                if number % 100 < 3 { unihash_of(&(number % 100).to_string()) } else { "-".to_owned() };
            assert_eq!(line, format!("{METHOD} {} {unihash}", tasks[number % 100]));
        }
    })
    .await;
}

#[tokio::test]
async fn a_malformed_input_line_is_named() {
    everywhere(async |server| {
        let run = run_hashclient(server, &["get", "--stdin"], &format!("{METHOD} T\nonly-one-word\n")).await;
        assert_eq!(run.output, format!("{METHOD} T -\n"));
        let errors = run.failed();
        assert!(errors.starts_with("ERROR: line 2 of standard input"), "{errors}");
    })
    .await;
}

#[tokio::test]
async fn who_reads_only_the_first_line_causes_no_complaint() {
    everywhere(async |server| {
        let mut child = hashclient(server).args(["get", "--stdin"]).spawn().expect("a running client");
        let mut stdin = child.stdin.take().expect("standard input");
        let input = format!("{METHOD} {}\n", task_of("a")).repeat(50_000);
        let writing = tokio::spawn(async move { stdin.write_all(input.as_bytes()).await });
        let mut lines = BufReader::new(child.stdout.take().expect("standard output")).lines();
        assert!(lines.next_line().await.expect("a line").is_some());
        // As `head -n 1` does.
        drop(lines);
        let output = child.wait_with_output().await.expect("the end");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
        assert_eq!(output.status.code(), Some(1), "not all was printed");
        drop(writing.await);
    })
    .await;
}

#[tokio::test]
async fn statistics_are_printed_and_reset() {
    everywhere(async |server| {
        let stats = json(server, &["stats"]).await;
        assert!(stats["requests"]["num"].is_u64(), "{stats}");
        json(server, &["stats", "--reset"]).await;
        assert!(json(server, &["stats", "--json"]).await["requests"]["num"].as_u64() < Some(5));
    })
    .await;
}

#[tokio::test]
async fn round_trips_are_measured() {
    everywhere(async |server| {
        let text = output(server, &["ping", "-n", "3"]).await;
        assert!(text.lines().count() > 3 && text.to_lowercase().contains("median"), "{text}");
        let quiet = output(server, &["ping", "-n", "3", "-q"]).await;
        assert!(quiet.lines().count() < text.lines().count(), "{quiet}");
        json(server, &["ping", "-n", "2", "--json"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_stress_finds_what_it_reports() {
    everywhere(async |server| {
        let words = ["stress", "--clients", "4", "--requests", "50", "--json"];
        let figures = json(server, &words).await;
        assert_eq!((&figures["requests"], &figures["missed"]), (&200.into(), &200.into()));
        let reporting = [&words[..], &["--report"]].concat();
        json(server, &reporting).await;
        let figures = json(server, &words).await;
        assert_eq!((&figures["found"], &figures["missed"]), (&200.into(), &0.into()));
        let text = output(server, &["stress", "--clients", "1", "--requests", "5"]).await;
        assert!(text.to_lowercase().contains("rate"), "{text}");
        let taskhash = hash("0");
        assert_eq!(json(server, &["get", "stress.test.method", &taskhash]).await["taskhash"], taskhash);
    })
    .await;
}

#[tokio::test]
async fn a_text_of_megabytes_is_reported_from_a_file() {
    everywhere(async |server| {
        let text = "drwxr-xr-x  ./usr/share/Straße ☃\n".repeat(50_000);
        let file = server.directory().join("siginfo");
        std::fs::write(&file, &text).expect("a file");
        let file = file.display().to_string();
        let uni = unihash_of("a");
        let words = ["report", "--method", METHOD, "--taskhash", "T", "--outhash", "O", "--unihash", &uni];
        output(server, &[&words[..], &["--outhash-siginfo-file", &file]].concat()).await;
        assert!(
            json(server, &["get", METHOD, "T"]).await["outhash_siginfo"] == text.as_str(),
            "the text has changed"
        );
    })
    .await;
}

#[tokio::test]
async fn an_invalid_unihash_is_refused_in_one_line() {
    everywhere(async |server| {
        let words = ["report", "--method", METHOD, "--taskhash", "T", "--outhash", "O", "--unihash", "bad"];
        assert_eq!(complaint(server, &words).await, "ERROR: Invalid unihash");
    })
    .await;
}

#[tokio::test]
async fn standard_output_that_cannot_be_written_is_a_failure() {
    let server = TestServer::new(Backend::all()[0], Transport::Unix).await;
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let child = hashclient(&server).arg("stats").stdout(Stdio::from(full)).spawn().expect("a running client");
    let output = child.wait_with_output().await.expect("the end");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("ERROR: cannot write to standard output"));
}
