//! Time limits and retries.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hashserv_protocol::arguments::Report;
use hashserv_transport::{Connection, Limits, ListenOptions, Listener, TransportError};

use crate::testing::{
    Script, client, client_that_dials, client_with, hangs_up, one_ping, script, unreachable,
};
use crate::{Client, ClientError, ClientOptions, Target};

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
    client(vec![slow]).ping().await.unwrap();
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
    assert_eq!(slow_client(COUNT).remove([].into()).await.unwrap(), 5);
    assert_eq!(slow_client(COUNT).clean_unused(Duration::from_secs(1)).await.unwrap(), 5);
    assert_eq!(slow_client(COUNT).gc_mark("M", [].into()).await.unwrap(), 5);
    assert_eq!(slow_client(COUNT).gc_sweep("M").await.unwrap(), 5);
    let status = r#"{"keep": 1, "remove": 2, "mark": "M"}"#;
    assert_eq!(slow_client(status).gc_status().await.unwrap().remove, 2);
    assert_eq!(slow_client(r#"{"usage": {"users": {"rows": 1}}}"#).db_usage().await.unwrap().len(), 1);
    assert_eq!(slow_client(r#"{"tasks": 3}"#).backfill_wait().await.unwrap(), 3);
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
    assert_eq!(client.gc_sweep("M").await.unwrap(), 3);
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

#[tokio::test]
async fn message_longer_than_the_server_takes_is_sent_once() {
    let limits = Limits { max_message: 1 << 20, ..Limits::default() };
    let options = ListenOptions { limits, ..ListenOptions::default() };
    let mut listener = Listener::bind(&"ws://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
    let target = Target::from(listener.local_address().clone());
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    tokio::spawn(async move {
        loop {
            let mut peer = listener.accept().await.establish().await.unwrap();
            counted.fetch_add(1, Ordering::Relaxed);
            while peer.receive().await.unwrap_or(false) {
                while peer.lines().next_line().unwrap().is_some() {}
            }
            peer.close().await;
        }
    });
    let report = Report { outhash_siginfo: Some("x".repeat(8 << 20).into()), ..Report::default() };
    let error = Client::new(target, retrying()).report(report).await.unwrap_err();
    assert!(error.to_string().starts_with("a message is longer than "), "{error}");
    assert_eq!(attempts.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_window_however_slow_attempts_are() {
    let closes_late = || {
        script(async |peer| {
            let mut peer = peer.greeted().await;
            peer.line().await;
            tokio::time::sleep(Duration::from_secs(20)).await;
        })
    };
    let slow_client = || client_with((0..4).map(|_| closes_late()).collect(), retrying());
    let started = tokio::time::Instant::now();
    slow_client().db_query_columns().await.unwrap_err();
    assert_eq!(
        started.elapsed().as_secs(),
        40,
        "the second attempt outlasts the window, a third does not begin"
    );
    let started = tokio::time::Instant::now();
    slow_client().ping().await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 40);
}

fn retrying() -> ClientOptions {
    ClientOptions { retry_window: Duration::from_secs(5), ..ClientOptions::default() }
}

fn pair() -> (Connection, Connection) {
    Connection::pair(Limits::default())
}
