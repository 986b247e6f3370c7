use std::io;
use std::time::Duration;

use hashserv_protocol::arguments::{Report, Task};
use hashserv_protocol::{Call, Framing, encode_message};
use hashserv_transport::{Connection, Limits, TransportError};

use crate::testing::{
    Script, client, client_that_dials, client_with, hangs_up, one_ping, script, unreachable,
};
use crate::{ClientError, ClientOptions};

const AUTH: &str = r#"{"auth":{"username":"u","token":"secret"}}"#;
const AUTH_REPLY: &str = r#"{"result": true, "username": "u", "permissions": []}"#;

#[tokio::test]
async fn the_handshake_travels_with_the_first_request() {
    let server = script(async |mut peer| {
        assert!(peer.0.receive().await.unwrap());
        assert_eq!(
            peer.0.lines().complete().unwrap(),
            b"OEHASHEQUIV 1.1\nneeds-headers: false\n\n{\"ping\":null}\n"
        );
        peer.send(&[r#"{"alive": true}"#]).await;
    });
    assert!(client(vec![server]).ping().await.unwrap().alive);
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[r#"{"get":{"method":"m","taskhash":"t","all":false}}"#]).await;
        peer.send(&["null"]).await;
        peer.expect(&[r#"{"get-stats":null}"#]).await;
        peer.send(&[
            r#"{"requests": {"num": 1, "total_time": 0.5, "max_time": 0.5, "average": 0.5, "stdev": 0}}"#,
        ])
        .await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    assert_eq!(client.get("m", "t").await.unwrap(), None);
    assert_eq!(client.stats().await.unwrap().requests.num, 1);
}

#[tokio::test]
async fn a_reply_in_chunks_is_put_together() {
    let siginfo = "blank é \n".repeat(50_000);
    let row = serde_json::json!({
        "id": 1, "method": "m", "taskhash": "t", "outhash": "o", "outhash_siginfo": siginfo, "unihash": "u",
        "owner": "\"invoke-error\"",
    });
    let mut reply = Vec::new();
    encode_message(&row, Framing::Lines, &mut reply).unwrap();
    let server = script(async move |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.0.send(&reply).await.unwrap();
    });
    let row = client(vec![server]).get_row("m", "t").await.unwrap().unwrap();
    assert_eq!(row.outhash_siginfo.as_deref(), Some(siginfo.as_str()));
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_the_next_call_dials_anew() {
    let refuses = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.send(&[r#"{"invoke-error": {"message": "Invalid unihash"}}"#]).await;
    });
    let mut client = client(vec![refuses, one_ping()]);
    let error = client.report_equiv("m", "t", "u").await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(message) if message == "Invalid unihash"), "{error:?}");
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_long_request_is_refused_before_it_is_read() {
    let refuses = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.send(&[r#"{"invoke-error": {"message": "No"}}"#]).await;
    });
    let siginfo = "x".repeat(1 << 20);
    let report = Report { outhash_siginfo: Some(siginfo.into()), ..Report::default() };
    let error = client(vec![refuses]).report(report).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn what_is_closed_without_a_reply_is_repeated_three_times() {
    let mut lucky = client(vec![hangs_up(), hangs_up(), hangs_up(), one_ping()]);
    lucky.ping().await.unwrap();
    let mut unlucky = client(vec![hangs_up(), hangs_up(), hangs_up(), hangs_up(), one_ping()]);
    assert!(matches!(unlucky.ping().await, Err(ClientError::Closed)));
    unlucky.ping().await.unwrap();
}

#[tokio::test]
async fn a_failure_to_connect_is_not_repeated() {
    let mut client = client(vec![hangs_up()]);
    assert!(matches!(client.ping().await, Err(ClientError::Connect(_))));
}

#[tokio::test]
async fn what_must_not_be_done_twice_is_sent_once() {
    let mut client = client((0..8).map(|_| hangs_up()).chain([one_ping()]).collect());
    let by_mark = [("gc_mark".into(), "old".into())];
    assert!(matches!(client.gc_mark("M", by_mark.into()).await, Err(ClientError::Closed)));
    assert!(matches!(client.refresh_token(None).await, Err(ClientError::Closed)));
    assert!(matches!(client.new_user::<&str>("u", &[]).await, Err(ClientError::Closed)));
    assert!(matches!(client.delete_user(None).await, Err(ClientError::Closed)));
    assert!(matches!(client.remove([].into()).await, Err(ClientError::Closed)));
    assert!(matches!(client.clean_unused(1.0).await, Err(ClientError::Closed)));
    assert!(matches!(client.gc_sweep("M").await, Err(ClientError::Closed)));
    assert!(matches!(client.reset_stats().await, Err(ClientError::Closed)));
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_is_not_used() {
    let closed = std::sync::Arc::new(tokio::sync::Notify::new());
    let closing = closed.clone();
    let closes_later = script(async move |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.send(&[r#"{"alive": true}"#]).await;
        drop(peer);
        closing.notify_one();
    });
    let sweeps = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[r#"{"gc-sweep":{"mark":"M"}}"#]).await;
        peer.send(&[r#"{"count": 3}"#]).await;
    });
    let mut client = client(vec![closes_later, sweeps]);
    client.ping().await.unwrap();
    closed.notified().await;
    assert_eq!(client.gc_sweep("M").await.unwrap().count, 3);
}

#[tokio::test]
async fn a_new_connection_logs_in_and_becomes_the_user_again() {
    const BECOME: &str = r#"{"become-user":{"username":"v"}}"#;
    const BECOME_REPLY: &str = r#"{"username": "v", "permissions": []}"#;
    let logs_in = || {
        script(async |peer| {
            let mut peer = peer.greeted().await;
            peer.expect(&[AUTH]).await;
            peer.send(&[AUTH_REPLY]).await;
            peer.expect(&[BECOME]).await;
            peer.send(&[BECOME_REPLY]).await;
            peer.expect(&[r#"{"ping":null}"#]).await;
            peer.send(&[r#"{"alive": true}"#]).await;
            peer.line().await;
        })
    };
    let mut by_calls = client(vec![logs_in(), logs_in()]);
    by_calls.auth("u", "secret").await.unwrap();
    by_calls.become_user("v").await.unwrap();
    by_calls.ping().await.unwrap();
    assert!(matches!(by_calls.gc_sweep("M").await, Err(ClientError::Closed)));
    by_calls.ping().await.unwrap();

    let login = Some(("u".to_owned(), "secret".to_owned()));
    let options = ClientOptions { login, become_user: Some("v".into()), ..ClientOptions::default() };
    client_with(vec![logs_in()], options).ping().await.unwrap();
}

#[tokio::test]
async fn a_token_that_was_refreshed_is_logged_in_with() {
    let refreshes = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[AUTH]).await;
        peer.send(&[AUTH_REPLY]).await;
        peer.expect(&[r#"{"refresh-token":{}}"#]).await;
        peer.send(&[r#"{"username": "u", "token": "fresh"}"#]).await;
    });
    let logs_in = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[r#"{"auth":{"username":"u","token":"fresh"}}"#]).await;
        peer.send(&[AUTH_REPLY]).await;
        peer.expect(&[r#"{"ping":null}"#]).await;
        peer.send(&[r#"{"alive": true}"#]).await;
    });
    let mut client = client(vec![refreshes, logs_in]);
    client.auth("u", "secret").await.unwrap();
    client.refresh_token(None).await.unwrap();
    client.ping().await.unwrap();
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_former_one() {
    let knows = || {
        script(async |peer| {
            let mut peer = peer.greeted().await;
            peer.expect(&[AUTH]).await;
            peer.send(&[AUTH_REPLY]).await;
            peer.line().await;
            peer.send(&[r#"{"invoke-error": {"message": "Unable to authenticate as x"}}"#]).await;
        })
    };
    let mut client = client(vec![knows(), knows()]);
    client.auth("u", "secret").await.unwrap();
    let error = client.auth("x", "wrong").await.unwrap_err();
    assert_eq!(error.to_string(), "Unable to authenticate as x");
    assert!(
        matches!(client.ping().await, Err(ClientError::Refused(_))),
        "the second login was not the first"
    );
}

#[tokio::test]
async fn garbage_is_an_error_that_quotes_it() {
    for (garbage, quoted) in [
        (&b"HTTP/1.1 400 Bad Request\n"[..], "HTTP/1.1 400"),
        (b"{\"live\": true}\n", "live"),
        (b"\n", "\"\""),
        (b"\xff\xfe\n", "UTF-8"),
        (&[b'x'; 100_000], "longer than"),
    ] {
        let server = script(async move |mut peer| {
            peer.line().await;
            let _ = peer.0.send(garbage).await;
        });
        let mut client = client(vec![server, one_ping()]);
        let error = client.ping().await.unwrap_err();
        assert!(matches!(&error, ClientError::Protocol(text) if text.contains(quoted)), "{error:?}");
        assert!(error.to_string().len() < 200);
        client.ping().await.unwrap();
    }
}

#[tokio::test]
async fn a_reply_beyond_the_bound_is_an_error() {
    let server = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.send(&["{\"chunk-stream\": null}", &"x".repeat(1000), &"x".repeat(1000), ""]).await;
    });
    let options = ClientOptions { max_message: 1500, ..ClientOptions::default() };
    let error = client_with(vec![server], options).ping().await.unwrap_err();
    assert!(error.to_string().contains("longer than 1500 bytes"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up() {
    let silent = script(async |peer| peer.until_silence().await);
    let mut client = client(vec![silent, one_ping()]);
    let error = client.ping().await.unwrap_err();
    assert_eq!(error.to_string(), "the server did not reply within 30 s");
    client.ping().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_reply_that_keeps_coming_is_waited_for() {
    let slow = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        for line in ["{\"chunk-stream\": null}", "{\"alive\":", "true", "}", ""] {
            tokio::time::sleep(Duration::from_secs(29)).await;
            peer.send(&[line]).await;
        }
    });
    assert!(client(vec![slow]).ping().await.unwrap().alive);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_waited_for() {
    let slow = script(async |peer| {
        let mut peer = peer.greeted().await;
        while peer.line().await.as_deref() != Some("") {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        peer.send(&[r#"{"taskhash": "t", "method": "m", "unihash": "u"}"#]).await;
    });
    let report = Report { outhash_siginfo: Some("x".repeat(1 << 20).into()), ..Report::default() };
    assert_eq!(client(vec![slow]).report(report).await.unwrap().unihash, "u");
}

/// A server that answers one request after half an hour.
fn slow(reply: &'static str) -> Script {
    script(async move |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        tokio::time::sleep(Duration::from_secs(1800)).await;
        peer.send(&[reply]).await;
    })
}

#[tokio::test(start_paused = true)]
async fn every_maintenance_command_may_take_half_an_hour() {
    const COUNT: &str = r#"{"count": 5}"#;
    let slow_client = |reply| client(vec![slow(reply)]);
    assert_eq!(slow_client(COUNT).remove([].into()).await.unwrap().count, 5);
    assert_eq!(slow_client(COUNT).clean_unused(1.0).await.unwrap().count, 5);
    assert_eq!(slow_client(COUNT).gc_mark("M", [].into()).await.unwrap().count, 5);
    assert_eq!(slow_client(COUNT).gc_sweep("M").await.unwrap().count, 5);
    let status = r#"{"keep": 1, "remove": 2, "mark": "M"}"#;
    assert_eq!(slow_client(status).gc_status().await.unwrap().remove, 2);
    assert_eq!(slow_client(r#"{"usage": {"users": {"rows": 1}}}"#).db_usage().await.unwrap().usage.len(), 1);
    assert_eq!(slow_client(r#"{"tasks": 3}"#).backfill_wait().await.unwrap().tasks, 3);
}

#[tokio::test(start_paused = true)]
async fn other_commands_are_given_up_sooner() {
    assert!(matches!(client(vec![slow("null")]).get("m", "t").await, Err(ClientError::Timeout { .. })));
}

#[tokio::test(start_paused = true)]
async fn server_that_restarts_is_reached_within_the_retry_window() {
    let refused = || Err(unreachable(io::ErrorKind::ConnectionRefused));
    let bad_gateway = Err(TransportError::Refused { peer: pair().0.peer().clone(), status: 502 });
    let dials = [refused(), bad_gateway, Err(unreachable(io::ErrorKind::NotFound)), Ok(one_ping())];
    client_that_dials(dials.into(), retrying()).ping().await.unwrap();
    // A command that may not run twice was not sent before.
    let sweeps = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[r#"{"gc-sweep":{"mark":"M"}}"#]).await;
        peer.send(&[r#"{"count": 3}"#]).await;
    });
    let mut client = client_that_dials([refused(), refused(), Ok(sweeps)].into(), retrying());
    assert_eq!(client.gc_sweep("M").await.unwrap().count, 3);
}

#[tokio::test(start_paused = true)]
async fn retries_end_with_the_window() {
    let started = tokio::time::Instant::now();
    let mut gone = client_with(vec![], retrying());
    assert!(matches!(gone.ping().await, Err(ClientError::Connect(_))));
    assert_eq!(started.elapsed().as_secs(), 5);
    let started = tokio::time::Instant::now();
    let mut failing = client_with((0..100).map(|_| hangs_up()).collect(), retrying());
    assert!(matches!(failing.ping().await, Err(ClientError::Closed)));
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_no_restart_explains_is_not_retried() {
    let not_found = TransportError::Refused { peer: pair().0.peer().clone(), status: 404 };
    let denied = unreachable(io::ErrorKind::PermissionDenied);
    for error in [not_found, denied] {
        let mut client = client_that_dials([Err(error), Ok(one_ping())].into(), retrying());
        assert!(matches!(client.ping().await, Err(ClientError::Connect(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn command_with_a_substitute_is_soon_given_up_where_it_may_be_lacking() {
    let started = tokio::time::Instant::now();
    let mut old = client_with((0..100).map(|_| hangs_up()).collect(), retrying());
    assert!(matches!(old.db_query_columns().await, Err(ClientError::Closed)));
    assert!(matches!(old.mark_stream().await, Err(ClientError::Closed)));
    assert_eq!(started.elapsed(), Duration::ZERO);
}

fn retrying() -> ClientOptions {
    ClientOptions { retry_window: Duration::from_secs(5), ..ClientOptions::default() }
}

fn pair() -> (Connection, Connection) {
    Connection::pair(Limits::default())
}

#[tokio::test(start_paused = true)]
async fn the_reply_to_a_dropped_call_is_nobody_elses() {
    let late = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let _ = peer.0.send(b"{\"count\": 1}\n").await;
    });
    let mut client = client(vec![late, one_ping()]);
    let call = tokio::time::timeout(Duration::from_secs(1), client.gc_mark("M", [].into()));
    assert!(call.await.is_err(), "it is dropped before the reply comes");
    tokio::time::sleep(Duration::from_secs(2)).await;
    client.ping().await.unwrap();
}

#[tokio::test]
async fn no_token_is_shown() {
    let server = script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
        peer.send(&[AUTH_REPLY]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    client.auth("u", "secret").await.unwrap();
    assert!(!format!("{client:?}").contains("secret"), "{client:?}");
}

#[tokio::test]
async fn requests_of_a_pipeline_are_answered_in_order() {
    let server = script(async |peer| {
        let mut peer = peer.greeted().await;
        let asked = |taskhash| format!(r#"{{"get":{{"method":"m","taskhash":"{taskhash}","all":false}}}}"#);
        peer.expect(&[&asked("1"), &asked("2")]).await;
        peer.send(&["1", "2"]).await;
        peer.until_closed().await;
    });
    let mut client = client(vec![server]);
    let (mut sender, mut receiver) = client.call_pipeline().await.unwrap();
    let ask = |taskhash: &'static str| {
        Call::Get(Task { method: "m".into(), taskhash: taskhash.into(), all: false })
    };
    sender.send(&[ask("1")]).await.unwrap();
    sender.send(&[ask("2")]).await.unwrap();
    assert_eq!(receiver.receive::<u8>().await.unwrap(), 1);
    assert_eq!(receiver.receive::<u8>().await.unwrap(), 2);
}
