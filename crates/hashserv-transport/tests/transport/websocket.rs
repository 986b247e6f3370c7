//! Connections over WebSocket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hashserv_protocol::Address;
use hashserv_transport::{
    Connection, DialOptions, Dialer, Framing, Limits, ListenOptions, Listener, TransportError,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::support::{connect, connect_to, echo_a_long_batch, echo_both_ways, next_line, port};

fn loopback() -> Address {
    "ws://127.0.0.1:0/ws".parse().unwrap()
}

async fn listen() -> Listener {
    crate::support::listen(&loopback()).await
}

type RawClient = WebSocketStream<tokio::net::TcpStream>;

/// A client that can do what ours does not, and the server's end.
async fn connect_raw(
    listener: &mut Listener,
    request: impl IntoClientRequest + Unpin,
) -> (RawClient, Connection) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port(listener))).await.unwrap();
    let server = async { listener.accept().await.establish().await.unwrap() };
    let (client, server) = tokio::join!(client_async(request, stream), server);
    (client.unwrap().0, server)
}

async fn close_code(client: &mut RawClient) -> CloseCode {
    loop {
        if let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() {
            return frame.code;
        }
    }
}

#[tokio::test]
async fn lines_of_any_length_go_both_ways() {
    let (client, server) = connect(&loopback()).await;
    assert_eq!(client.framing(), Framing::Messages);
    let long = vec![b'x'; 1024 * 1024];
    let longer = vec![b'y'; 5 * 1024 * 1024 + 1];
    echo_both_ways(client, server, &[b"a line", b"", "h\u{e9}".as_bytes(), &long, &longer]).await;
}

#[tokio::test]
async fn a_long_batch_is_answered_while_it_is_sent() {
    let (client, server) = connect(&loopback()).await;
    echo_a_long_batch(client, server).await;
}

#[tokio::test]
async fn a_batch_is_one_message_a_line_and_is_received_at_once() {
    let mut listener = listen().await;
    let (mut client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    server.send(b"one\ntwo\n").await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("one"));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::text("two"));
    for line in ["three", "four"] {
        client.feed(Message::text(line)).await.unwrap();
    }
    client.feed(Message::binary("five")).await.unwrap();
    client.flush().await.unwrap();
    assert!(server.receive().await.unwrap());
    assert_eq!(server.lines().complete().unwrap(), b"three\nfour\nfive\n");
}

#[tokio::test]
async fn any_path_and_origin_will_do() {
    let mut listener = listen().await;
    let mut request = "ws://some.host/any/path?x=y".into_client_request().unwrap();
    request.headers_mut().insert("Origin", "http://elsewhere.example".parse().unwrap());
    let (mut client, mut server) = connect_raw(&mut listener, request).await;
    client.send(Message::text("line")).await.unwrap();
    assert_eq!(next_line(&mut server).await.unwrap(), b"line");
}

#[tokio::test]
async fn messages_sent_with_the_request_are_not_lost() {
    let mut listener = listen().await;
    let mut peer = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let masked_hi = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
    peer.write_all(&[head.as_bytes(), &masked_hi].concat()).unwrap();
    let mut server = listener.accept().await.establish().await.unwrap();
    assert_eq!(next_line(&mut server).await.unwrap(), b"hi");
}

#[tokio::test]
async fn pings_are_answered() {
    let mut listener = listen().await;
    let (mut client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    client.send(Message::Ping("are you there".into())).await.unwrap();
    let waiting = tokio::spawn(async move { server.receive().await });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Pong("are you there".into()));
    client.close(None).await.unwrap();
    assert!(!waiting.await.unwrap().unwrap());
}

// Without waiting for the pauses that pings bring about.
#[tokio::test(start_paused = true)]
async fn pings_of_a_peer_that_never_reads_do_not_pile_up() {
    const PINGS: usize = 200_000;
    let mut listener = listen().await;
    let (client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    let (mut requests, mut replies) = client.split();
    let flood = async {
        for _ in 0..PINGS {
            requests.feed(Message::Ping(vec![0; 125].into())).await.unwrap();
        }
        requests.send(Message::text("the end")).await.unwrap();
    };
    let (line, ()) = tokio::join!(next_line(&mut server), flood);
    assert_eq!(line.unwrap(), b"the end");
    let answers = async {
        let mut pongs = 0;
        while let Message::Pong(_) = replies.next().await.unwrap().unwrap() {
            pongs += 1;
        }
        pongs
    };
    let (sent, pongs) = tokio::join!(server.send(b"a reply\n"), answers);
    sent.unwrap();
    // The system's own buffers take some megabytes, too.
    assert!((1..PINGS / 2).contains(&pongs), "{pongs}");
}

/// Sends frames and then a line, and returns the time for which the server did not want to receive. The clock stands
/// still except for that.
async fn pause_after(frames: Vec<Frame>) -> Duration {
    let mut listener = listen().await;
    let (mut client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    let began = Instant::now();
    let sending = async {
        for frame in frames {
            client.feed(Message::Frame(frame)).await.unwrap();
        }
        client.send(Message::text("last")).await.unwrap();
        // Answers to pings come until the end.
        while client.next().await.is_some() {}
    };
    let receiving = async {
        while next_line(&mut server).await.unwrap() != b"last" {}
        drop(server);
        began.elapsed()
    };
    tokio::join!(sending, receiving).1
}

const FLOOD: usize = 20_000;

#[tokio::test(start_paused = true)]
async fn peer_that_floods_with_pings_is_slowed_down() {
    let pings = vec![Frame::ping(vec![]); FLOOD];
    assert!(pause_after(pings).await >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn peer_that_floods_with_fragments_is_slowed_down() {
    let fragment = |first, last| {
        Frame::message("x", OpCode::Data(if first { Data::Text } else { Data::Continue }), last)
    };
    let mut fragments = vec![fragment(true, false)];
    fragments.extend(vec![fragment(false, false); FLOOD]);
    fragments.push(fragment(false, true));
    assert!(pause_after(fragments).await >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn peer_that_asks_much_is_not_slowed_down() {
    let text = |line: String| Frame::message(line, OpCode::Data(Data::Text), true);
    assert_eq!(pause_after(vec![text("m t".to_owned()); FLOOD]).await, Duration::ZERO);
    assert_eq!(pause_after(vec![text("x".repeat(1024 * 1024)); 16]).await, Duration::ZERO);
    let mut fragments = vec![Frame::message(vec![b'x'; 1024], OpCode::Data(Data::Text), false)];
    fragments.extend(vec![Frame::message(vec![b'x'; 1024], OpCode::Data(Data::Continue), false); FLOOD]);
    fragments.push(Frame::message("x", OpCode::Data(Data::Continue), true));
    assert_eq!(pause_after(fragments).await, Duration::ZERO);
}

#[tokio::test]
async fn a_message_beyond_the_bound_is_refused_with_1009() {
    let limits = Limits { max_message: 1024 * 1024, ..Limits::default() };
    let options = ListenOptions { limits, ..ListenOptions::default() };
    let mut listener = Listener::bind(&loopback(), &options).await.unwrap();
    let (client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    let (mut requests, mut replies) = client.split();
    let sending = tokio::spawn(async move {
        requests.send(Message::text("first")).await.unwrap();
        let _ = requests.send(Message::text("x".repeat(4 * 1024 * 1024))).await;
    });
    assert_eq!(next_line(&mut server).await.unwrap(), b"first");
    let error = server.receive().await.unwrap_err();
    assert!(matches!(error, TransportError::MessageTooLarge { max: 1_048_576, .. }), "{error:?}");
    let (reply, ()) = tokio::join!(replies.next(), server.close());
    let Some(Ok(Message::Close(Some(CloseFrame { code, .. })))) = reply else { panic!("{reply:?}") };
    assert_eq!(code, CloseCode::Size);
    sending.await.unwrap();
}

#[tokio::test]
async fn message_that_the_peer_does_not_take_is_told_apart_from_a_close() {
    let limits = Limits { max_message: 1024 * 1024, ..Limits::default() };
    let options = ListenOptions { limits, ..ListenOptions::default() };
    let mut listener = Listener::bind(&"ws://127.0.0.1:0".parse().unwrap(), &options).await.unwrap();
    let (mut client, mut server) =
        crate::support::connect_to(&mut listener, &Dialer::new(DialOptions::default())).await;
    let long = [&vec![b'x'; 4 * 1024 * 1024][..], b"\n"].concat();
    let (_, refused) = tokio::join!(client.send(&long), server.receive());
    refused.unwrap_err();
    let (told, ()) = tokio::join!(client.receive(), server.close());
    assert!(matches!(told, Err(TransportError::MessageRefused { .. })), "{told:?}");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_with_1007() {
    let mut listener = listen().await;
    let (mut client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    let garbage = Frame::message(&b"\xff"[..], OpCode::Data(Data::Text), true);
    client.send(Message::Frame(garbage)).await.unwrap();
    let error = server.receive().await.unwrap_err();
    assert!(matches!(error, TransportError::WebSocket { .. }), "{error:?}");
    let (code, ()) = tokio::join!(close_code(&mut client), server.close());
    assert_eq!(code, CloseCode::Invalid);
}

#[tokio::test]
async fn closing_is_agreed_upon() {
    let mut listener = listen().await;
    let (mut client, server) = connect_raw(&mut listener, "ws://localhost/").await;
    let reply = async {
        assert_eq!(close_code(&mut client).await, CloseCode::Normal);
        assert!(client.next().await.is_none());
    };
    tokio::join!(reply, server.close());
}

#[tokio::test]
async fn a_peer_that_vanishes_without_closing_is_an_error() {
    let mut listener = listen().await;
    let (client, mut server) = connect_raw(&mut listener, "ws://localhost/").await;
    drop(client);
    let error = server.receive().await.unwrap_err();
    assert!(matches!(error, TransportError::WebSocket { .. }), "{error:?}");
    server.close().await;
}

#[tokio::test]
async fn a_silent_client_holds_up_nobody() {
    let mut listener = listen().await;
    let silent = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    let waiting = tokio::spawn(listener.accept().await.establish());
    let dialer = Dialer::new(DialOptions::default());
    let (client, server) = connect_to(&mut listener, &dialer).await;
    echo_both_ways(client, server, &[b"a line"]).await;
    assert!(!waiting.is_finished());
    drop(silent);
    let error = waiting.await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::NoUpgrade { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_no_request_for_a_websocket_is_told_so() {
    let mut listener = listen().await;
    let endless = format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(20_000));
    for (request, status) in [
        ("OEHASHEQUIV 1.1\r\nneeds-headers: false\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\x00\x01\x01", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed"),
        (&endless, "431 Request Header Fields Too Large"),
    ] {
        let mut peer = TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
        peer.write_all(request.as_bytes()).unwrap();
        let incoming = listener.accept().await;
        let reader = tokio::task::spawn_blocking(move || {
            let mut answer = String::new();
            peer.read_to_string(&mut answer).unwrap();
            answer
        });
        let error = incoming.establish().await.unwrap_err();
        assert!(matches!(error, TransportError::NoUpgrade { .. }), "{request}: {error:?}");
        let answer = reader.await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn what_nobody_takes_out_is_not_buffered_endlessly() {
    let (mut client, mut server) = connect(&loopback()).await;
    let line = [vec![b'x'; 1023], vec![b'\n']].concat();
    let flood = tokio::spawn(async move {
        let _ = client.send(&line.repeat(4096)).await;
    });
    for _ in 0..1000 {
        assert!(server.receive().await.unwrap());
        assert!(server.lines().len() < 64 * 1024 + 1024);
    }
    drop(server);
    flood.await.unwrap();
}

#[tokio::test]
async fn a_server_that_stays_silent_is_not_waited_for_endlessly() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connect_timeout = Duration::from_millis(50);
    let dialer = Dialer::new(DialOptions { connect_timeout, ..DialOptions::default() });
    let address = format!("ws://{}", silent.local_addr().unwrap()).parse().unwrap();
    let error = dialer.dial(&address).await.unwrap_err();
    assert!(matches!(error, TransportError::ConnectTimeout { .. }), "{error:?}");
}

/// Dials a server that answers with `answer`, whatever it is asked; returns its error and the request.
async fn dial_a_server_that_says(answer: &'static [u8]) -> (TransportError, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("ws://{}/some/path", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::task::spawn_blocking(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = vec![0; 4096];
        let count = stream.read(&mut request).unwrap();
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(&request[..count]).into_owned()
    });
    let error = Dialer::new(DialOptions::default()).dial(&address).await.unwrap_err();
    (error, server.await.unwrap())
}

#[tokio::test]
async fn a_server_without_websockets_is_an_error_that_says_so() {
    let (error, request) = dial_a_server_that_says(b"HTTP/1.1 404 Not Found\r\n\r\n").await;
    assert!(matches!(error, TransportError::Refused { status: 404, .. }), "{error:?}");
    assert!(error.to_string().contains("status 404"), "{error}");
    assert!(request.starts_with("GET /some/path HTTP/1.1\r\nHost: 127.0.0.1:"), "{request}");
    let (error, _) = dial_a_server_that_says(b"\xff\xffnonsense\r\n\r\n").await;
    assert!(matches!(error, TransportError::NoWebSocket { .. }), "{error:?}");
    let (error, _) = dial_a_server_that_says(b"").await;
    assert!(error.is_transient(), "a server that restarts may do so: {error:?}");
    let TransportError::NoWebSocket { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, Error::Protocol(_)), "{source:?}");
}
