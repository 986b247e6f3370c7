//! Connections through an HTTP proxy.

use std::time::Duration;

use hashserv_protocol::Address;
use hashserv_transport::{DialOptions, Dialer, Listener, Proxies, ProxyError, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::support::{connect_to, echo_a_long_batch, listen, port};

/// What a proxy does with a request.
#[derive(Clone, Copy)]
enum Manner {
    /// Connects to the server.
    Forward,
    /// Answers this and waits for the end.
    Answer(&'static str),
    /// Answers without end.
    Flood,
    HangUp,
}

/// A proxy, its port, and the requests that it gets.
async fn proxy(manner: Manner) -> (u16, UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (requests, received) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            requests.send(head.clone()).unwrap();
            tokio::spawn(serve(client, head, manner));
        }
    });
    (port, received)
}

async fn serve(mut client: TcpStream, head: String, manner: Manner) {
    match manner {
        Manner::Forward => {
            let target = head.split(' ').nth(1).unwrap();
            let mut server = TcpStream::connect(target).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n").await.unwrap();
            let _ = copy_bidirectional(&mut client, &mut server).await;
        }
        Manner::Answer(answer) => {
            client.write_all(answer.as_bytes()).await.unwrap();
            let _ = client.read_u8().await;
        }
        Manner::Flood => {
            while client.write_all(b"HTTP/1.1 200 OK\r\nA: b\r\n").await.is_ok() {
                while client.write_all(&[b'x'; 1000]).await.is_ok() {}
            }
        }
        Manner::HangUp => {}
    }
}

fn dialer(variables: &[(&str, String)], connect_timeout: Duration) -> Dialer {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    let proxies = Proxies::from_variables(variables);
    Dialer::new(DialOptions { proxies, connect_timeout, ..DialOptions::default() })
}

async fn websocket_listener() -> Listener {
    listen(&"ws://localhost:0/ws".parse().unwrap()).await
}

#[tokio::test]
async fn websocket_goes_through_the_proxy() {
    let (proxy, mut requests) = proxy(Manner::Forward).await;
    let mut listener = websocket_listener().await;
    let url = format!("http://me:s%20cret@127.0.0.1:{proxy}");
    let dialer = dialer(&[("HTTP_PROXY", url)], Duration::from_secs(30));
    let (client, server) = connect_to(&mut listener, &dialer).await;
    echo_a_long_batch(client, server).await;
    let port = port(&listener);
    assert_eq!(
        requests.recv().await.unwrap(),
        format!(
            "CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\n\
             Proxy-Authorization: Basic bWU6cyBjcmV0\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn listed_hosts_and_other_transports_are_dialled_directly() {
    let (proxy, mut requests) = proxy(Manner::HangUp).await;
    let url = || format!("http://127.0.0.1:{proxy}");
    let listed = [("https_proxy", url()), ("http_proxy", url()), ("NO_PROXY", "a, localhost".to_owned())];
    let mut websocket = websocket_listener().await;
    connect_to(&mut websocket, &dialer(&listed, Duration::from_secs(30))).await;
    let mut tcp = listen(&crate::support::loopback()).await;
    connect_to(&mut tcp, &dialer(&listed[..2], Duration::from_secs(30))).await;
    assert!(requests.try_recv().is_err());
}

async fn failure(manner: Manner, limit: Duration) -> TransportError {
    let (proxy, _requests) = proxy(manner).await;
    let url = format!("http://me:secret@127.0.0.1:{proxy}");
    let address: Address = "ws://example.invalid/ws".parse().unwrap();
    let error = dialer(&[("http_proxy", url)], limit).dial(&address).await.unwrap_err();
    let told = format!("{error} {error:?}");
    assert!(
        told.starts_with(&format!(
            "cannot connect to {address} through the proxy 127.0.0.1:{proxy} (from http_proxy)"
        )),
        "{told}"
    );
    assert!(!told.contains("secret"), "{told}");
    error
}

#[tokio::test]
async fn what_a_proxy_does_wrong_is_told() {
    let answers = [
        ("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "it answered with HTTP status 407", false),
        (
            "HTTP/1.0 502 Bad Gateway\r\nContent-Length: 100000\r\n\r\n",
            "it answered with HTTP status 502",
            true,
        ),
        ("SSH-2.0-OpenSSH_9.2\r\n", "its answer is none of an HTTP proxy", false),
        ("\0\0\0", "its answer is none of an HTTP proxy", false),
        ("HTTP/1.1 200 OK\r\n\r\nmore", "its answer is none of an HTTP proxy", false),
    ];
    let manners =
        answers.map(|(answer, told, transient)| (Manner::Answer(answer), told, transient)).into_iter();
    let others = [
        (Manner::Flood, "its answer is none of an HTTP proxy: it is too long", false),
        (Manner::HangUp, "it closed the connection", true),
    ];
    for (manner, expected, transient) in manners.chain(others) {
        let error = failure(manner, Duration::from_secs(30)).await;
        let TransportError::Proxy { source, .. } = &error else { panic!("{error:?}") };
        assert!(source.to_string().starts_with(expected), "{source}");
        assert_eq!(error.is_transient(), transient, "{error:?}");
    }
}

#[tokio::test]
async fn proxy_that_hangs_is_given_up() {
    for unfinished in ["", "HTTP/1.1 200 OK\r\n"] {
        let error = failure(Manner::Answer(unfinished), Duration::from_millis(300)).await;
        assert!(matches!(error, TransportError::Proxy { source: ProxyError::Timeout(_), .. }), "{error:?}");
    }
}

#[tokio::test]
async fn proxy_that_is_not_supported_is_told() {
    let address: Address = "wss://example.invalid/ws".parse().unwrap();
    let url = "socks5h://me:secret@127.0.0.1:1".to_owned();
    let error = dialer(&[("https_proxy", url)], Duration::from_secs(30)).dial(&address).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {address} through the proxy in https_proxy"));
    assert!(matches!(error, TransportError::Proxy { source: ProxyError::Unusable(_), .. }), "{error:?}");
}
