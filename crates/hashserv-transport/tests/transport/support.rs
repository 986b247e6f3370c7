//! What the tests share.

use hashserv_protocol::Address;
use hashserv_transport::{Connection, DialOptions, Dialer, ListenOptions, Listener};

pub(crate) async fn listen(address: &Address) -> Listener {
    Listener::bind(address, &ListenOptions::default()).await.unwrap()
}

pub(crate) async fn dial(address: &Address) -> Connection {
    Dialer::new(DialOptions::default()).dial(address).await.unwrap()
}

/// Both ends of a connection over `address`: the client's and the server's.
pub(crate) async fn connect(address: &Address) -> (Connection, Connection) {
    let mut listener = listen(address).await;
    connect_to(&mut listener, &Dialer::new(DialOptions::default())).await
}

/// Both ends of a connection to `listener`: the client's and the server's.
pub(crate) async fn connect_to(listener: &mut Listener, dialer: &Dialer) -> (Connection, Connection) {
    let address = listener.local_address().clone();
    let server = async { listener.accept().await.establish().await.unwrap() };
    let (client, server) = tokio::join!(dialer.dial(&address), server);
    (client.unwrap(), server)
}

pub(crate) fn loopback() -> Address {
    "127.0.0.1:0".parse().unwrap()
}

/// The port that a listener got.
pub(crate) fn port(listener: &Listener) -> u16 {
    match listener.local_address() {
        Address::Tcp(host) | Address::WebSocket { host, .. } => host.port.unwrap(),
        Address::Unix(_) => panic!("a unix address has no port"),
    }
}

/// The next line; `None` when the peer has closed.
pub(crate) async fn next_line(connection: &mut Connection) -> Option<Vec<u8>> {
    loop {
        if let Some(line) = connection.lines().next_line().unwrap() {
            return Some(line.to_vec());
        }
        if !connection.receive().await.unwrap() {
            return None;
        }
    }
}

/// Sends `lines` there and back, then closes.
pub(crate) async fn echo_both_ways(mut client: Connection, mut server: Connection, lines: &[&[u8]]) {
    assert_eq!(client.framing(), server.framing());
    for line in lines {
        let sent = [line, &b"\n"[..]].concat();
        let (outcome, received) = tokio::join!(client.send(&sent), next_line(&mut server));
        outcome.unwrap();
        assert!(received.unwrap() == *line);
        let (outcome, received) = tokio::join!(server.send(&sent), next_line(&mut client));
        outcome.unwrap();
        assert!(received.unwrap() == *line);
    }
    let farewell = async {
        assert_eq!(next_line(&mut server).await, None);
        assert_eq!(next_line(&mut server).await, None, "the end stays the end");
        server.close().await;
    };
    tokio::join!(client.close(), farewell);
}

/// Sends a batch that fits into no buffer, and receives its echo meanwhile.
pub(crate) async fn echo_a_long_batch(client: Connection, mut server: Connection) {
    let batch = b"0123456789\n".repeat(300_000);
    let echo = tokio::spawn(async move {
        while server.receive().await.unwrap() {
            let lines = server.lines().complete().unwrap().to_vec();
            server.send(&lines).await.unwrap();
            server.lines().consume(lines.len());
        }
        server.close().await;
    });
    let (mut replies, mut requests) = client.split();
    let receive = async {
        let mut received = 0;
        while received < batch.len() {
            assert!(replies.receive().await.unwrap());
            let lines = replies.lines().complete().unwrap().len();
            replies.lines().consume(lines);
            received += lines;
        }
    };
    let (sent, ()) = tokio::join!(requests.send(&batch), receive);
    sent.unwrap();
    requests.close().await;
    assert!(!replies.receive().await.unwrap());
    echo.await.unwrap();
}
