//! The client program against the server, over every transport.

mod administration;
mod closing;
mod connecting;
mod looking_up;
mod printing;
mod proxies;
mod safety;

use hashserv_tests::{TestServer, run_hashclient};

/// The output of a run that must succeed.
async fn output(server: &TestServer, arguments: &[&str]) -> String {
    run_hashclient(server, arguments, "").await.succeeded()
}

/// The JSON that a run prints, which must succeed.
async fn json(server: &TestServer, arguments: &[&str]) -> serde_json::Value {
    let text = output(server, arguments).await;
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

/// What a run complains about that must fail.
async fn complaint(server: &TestServer, arguments: &[&str]) -> String {
    let errors = run_hashclient(server, arguments, "").await.failed();
    assert!(errors.starts_with("ERROR: ") && errors.lines().count() == 1, "{errors}");
    errors.trim_end().to_owned()
}
