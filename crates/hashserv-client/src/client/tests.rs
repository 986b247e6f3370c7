use std::time::Duration;

use hashserv_protocol::arguments::{Report, Task};
use hashserv_protocol::{Call, Framing, encode_message};

use crate::testing::{client, client_with, hangs_up, one_ping, script};
use crate::{ClientError, ClientOptions, Login};

mod mismatch;
mod waiting;

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
    client(vec![server]).ping().await.unwrap();
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
    assert!(matches!(client.gc_mark("M", by_mark.into()).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.refresh_token(None).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.new_user::<&str>("u", &[]).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.delete_user(None).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.remove([].into()).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.clean_unused(Duration::from_secs(1)).await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.gc_sweep("M").await, Err(ClientError::InDoubt { .. })));
    assert!(matches!(client.reset_stats().await, Err(ClientError::InDoubt { .. })));
    client.ping().await.unwrap();
}

#[tokio::test]
async fn lost_reply_to_a_change_is_told_as_doubt_with_advice() {
    let mut client = client((0..6).map(|_| hangs_up()).collect());
    let told = hashserv_log::one_line(&client.new_user::<&str>("u", &[]).await.unwrap_err());
    assert!(told.starts_with("new-user may have been carried out (look with get-user"), "{told}");
    assert!(told.ends_with("closed the connection without a reply; its log has the cause"), "{told}");
    // It is repeated, but each of the attempts may have been the one that counted.
    let permissions = client.set_user_permissions::<&str>("u", &[]).await.unwrap_err();
    assert!(matches!(permissions, ClientError::InDoubt { .. }), "{permissions:?}");
}

#[tokio::test]
async fn lost_login_before_a_change_leaves_no_doubt() {
    let options = ClientOptions { login: Some(Login::new("u", "secret")), ..ClientOptions::default() };
    let mut client = client_with((0..4).map(|_| hangs_up()).collect(), options);
    assert!(matches!(client.gc_sweep("M").await, Err(ClientError::Closed)));
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
    assert_eq!(client.gc_sweep("M").await.unwrap(), 3);
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
    by_calls.auth(Login::new("u", "secret")).await.unwrap();
    by_calls.become_user("v").await.unwrap();
    by_calls.ping().await.unwrap();
    assert!(matches!(by_calls.gc_sweep("M").await, Err(ClientError::InDoubt { .. })));
    by_calls.ping().await.unwrap();

    let login = Some(Login::new("u", "secret"));
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
    client.auth(Login::new("u", "secret")).await.unwrap();
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
    client.auth(Login::new("u", "secret")).await.unwrap();
    let error = client.auth(Login::new("x", "wrong")).await.unwrap_err();
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
    client.auth(Login::new("u", "secret")).await.unwrap();
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
