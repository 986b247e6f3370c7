//! The example `embed`.

#![allow(clippy::unwrap_used, reason = "in a test it is a failed test")]

#[path = "../examples/embed.rs"]
mod example;

use example::{EmbeddedServer, ask};

#[tokio::test]
async fn embedded_server_answers_until_it_is_stopped() {
    let server = EmbeddedServer::start().await.unwrap();
    let address = server.address().clone();
    assert_eq!(ask(&address, r#"{"ping": {}}"#).await.unwrap(), r#"{"alive":true}"#);
    server.stop().await.unwrap();
    assert!(ask(&address, r#"{"ping": {}}"#).await.is_err());
}
