//! Servers that speak another transport than the address says.

use hashserv_protocol::Address;
use hashserv_transport::{ListenOptions, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::testing::{client, script};
use crate::{Client, ClientOptions, Target};

/// What a ping tells over `scheme` from a server that answers whatever comes with these bytes and closes.
async fn told_of(scheme: &str, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    let address: Address = format!("{scheme}127.0.0.1:{port}").parse().unwrap();
    ping(address).await
}

async fn ping(address: Address) -> String {
    let error = Client::new(Target::from(address), ClientOptions::default()).ping().await.unwrap_err();
    hashserv_log::one_line(&error)
}

/// The alert that a TLS server sends to who speaks no TLS.
const TLS_ALERT: &[u8] = &[21, 3, 1, 0, 2, 2, 70];

#[tokio::test]
async fn websocket_client_of_another_server_is_told_what_to_try() {
    for answer in [&b""[..], TLS_ALERT] {
        let told = told_of("ws://", answer).await;
        assert!(
            told.contains("should the address begin with wss://, or be HOST:PORT for raw TCP?"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn tls_client_of_a_raw_server_is_told_what_to_try() {
    let told = told_of("wss://", b"").await;
    assert!(told.contains("should the address be HOST:PORT for raw TCP?"), "{told}");
}

#[tokio::test]
async fn raw_client_of_a_websocket_server_is_told_what_to_try() {
    let mut listener =
        Listener::bind(&"ws://127.0.0.1:0".parse().unwrap(), &ListenOptions::default()).await.unwrap();
    let Address::WebSocket { host, .. } = listener.local_address().clone() else { panic!("no WebSocket") };
    tokio::spawn(async move {
        loop {
            listener.accept().await.establish().await.unwrap_err();
        }
    });
    let told = ping(Address::Tcp(host)).await;
    assert!(told.contains("it speaks HTTP, should the address begin with ws://?"), "{told}");
}

#[tokio::test]
async fn raw_client_of_a_tls_server_is_told_what_to_try() {
    let alerts = script(async |mut peer| {
        peer.line().await;
        peer.0.send(TLS_ALERT).await.unwrap();
    });
    let told = hashserv_log::one_line(&client(vec![alerts]).ping().await.unwrap_err());
    assert!(told.contains("it speaks TLS; should the address begin with wss://?"), "{told}");
}
