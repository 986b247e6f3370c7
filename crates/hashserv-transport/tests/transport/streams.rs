//! Connections over unix sockets, TCP and memory.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use hashserv_protocol::{Address, Host};
use hashserv_transport::{
    Connection, DialOptions, Dialer, Framing, Limits, ListenOptions, Listener, TransportError,
};

use tokio::time::Instant;

use crate::support::{connect, dial, echo_a_long_batch, echo_both_ways, listen, loopback, next_line, port};

const LINES: &[&[u8]] = &[b"a line", &[b'x'; 60 * 1024], b""];

fn unix_in(directory: &tempfile::TempDir) -> Address {
    Address::Unix(directory.path().join("hashserver.sock"))
}

#[tokio::test]
async fn lines_go_both_ways_on_every_stream() {
    let directory = tempfile::tempdir().unwrap();
    for address in [unix_in(&directory), loopback()] {
        let (client, server) = connect(&address).await;
        assert_eq!(client.framing(), Framing::Lines);
        echo_both_ways(client, server, LINES).await;
    }
    let (client, server) = Connection::pair(Limits::default());
    echo_both_ways(client, server, LINES).await;
}

#[tokio::test]
async fn a_long_batch_is_answered_while_it_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    for address in [unix_in(&directory), loopback()] {
        let (client, server) = connect(&address).await;
        echo_a_long_batch(client, server).await;
    }
}

#[tokio::test]
async fn what_was_sent_last_survives_a_close_with_unread_input() {
    let (mut client, mut server) = connect(&loopback()).await;
    client.send(&b"request\n".repeat(1000)).await.unwrap();
    server.send(b"error\n").await.unwrap();
    let (line, ()) = tokio::join!(
        async {
            let line = next_line(&mut client).await;
            assert_eq!(next_line(&mut client).await, None, "not reset");
            drop(client);
            line
        },
        server.close()
    );
    assert_eq!(line.unwrap(), b"error");
}

#[tokio::test]
async fn an_endless_line_is_not_buffered_endlessly() {
    let (mut client, mut server) = connect(&loopback()).await;
    let flood = tokio::spawn(async move {
        let _ = client.send(&vec![b'x'; 16 << 20]).await;
    });
    let limits = Limits::default();
    while server.lines().next_line().is_ok() {
        assert!(server.receive().await.unwrap());
    }
    for _ in 0..100 {
        assert!(server.receive().await.unwrap());
        assert!(server.lines().len() <= limits.max_line + 64 * 1024);
    }
    drop(server);
    flood.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pieces_that_ask_nothing_slow_a_peer_down() {
    let (mut client, mut server) = Connection::pair(Limits::default());
    let began = Instant::now();
    for _ in 0..20_000 {
        client.send(b"line\n").await.unwrap();
        assert_eq!(next_line(&mut server).await.unwrap(), b"line");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    server.charge(20_000);
    client.send(b"line\n").await.unwrap();
    next_line(&mut server).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn peer_that_sends_lines_byte_by_byte_is_slowed_down() {
    let (mut client, mut server) = Connection::pair(Limits::default());
    let began = Instant::now();
    for _ in 0..20_000 {
        client.send(b"x").await.unwrap();
        server.receive().await.unwrap();
    }
    assert!(began.elapsed() >= Duration::from_secs(5));
}

#[tokio::test]
async fn an_idle_connection_holds_no_buffer() {
    let (mut client, mut server) = connect(&loopback()).await;
    client.send(&b"line\n".repeat(10_000)).await.unwrap();
    let mut received = 0;
    while received < 50_000 {
        assert!(server.receive().await.unwrap());
        let count = server.lines().len();
        server.lines().complete().unwrap();
        server.lines().consume(count);
        received += count;
    }
    // Nothing arrives, so this waits.
    tokio::select! {
        biased;
        _ = server.receive() => panic!("there is nothing to receive"),
        () = tokio::task::yield_now() => {}
    }
    assert!(server.lines().room().capacity() < 64 * 1024, "the large buffer was given back");
    client.send(b"again\n").await.unwrap();
    assert_eq!(next_line(&mut server).await.unwrap(), b"again");
}

#[tokio::test]
async fn a_broken_connection_hands_over_what_arrived_first() {
    let mut listener = listen(&loopback()).await;
    let peer = std::net::TcpStream::connect(("127.0.0.1", port(&listener))).unwrap();
    let mut server = listener.accept().await.establish().await.unwrap();
    std::io::Write::write_all(&mut &peer, b"last words\n").unwrap();
    assert_eq!(next_line(&mut server).await.unwrap(), b"last words");
    server.send(b"unread\n").await.unwrap();
    // To close with unread input resets the connection.
    while peer.peek(&mut [0]).unwrap() == 0 {}
    drop(peer);
    let error = server.receive().await.unwrap_err();
    assert!(matches!(error, TransportError::Io { .. }), "{error:?}");
    assert!(server.receive().await.is_err(), "broken stays broken");
}

#[tokio::test]
async fn paths_of_any_length_work() {
    let directory = tempfile::tempdir().unwrap();
    let deep: PathBuf = directory.path().join("d".repeat(200)).join("e".repeat(200));
    std::fs::create_dir_all(&deep).unwrap();
    for name in ["s".repeat(5), "s".repeat(200)] {
        let path = deep.join(&name);
        let address = Address::Unix(path.clone());
        let (client, server) = connect(&address).await;
        echo_both_ways(client, server, LINES).await;
        assert!(!path.exists(), "the listener removed its file");
    }
    assert_eq!(std::fs::read_dir(&deep).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn a_stale_socket_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let Address::Unix(path) = &address else { panic!("it is a unix address") };
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
    let (client, server) = connect(&address).await;
    echo_both_ways(client, server, LINES).await;
}

#[tokio::test]
async fn a_live_server_keeps_its_socket() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let mut first = listen(&address).await;
    let error = Listener::bind(&address, &ListenOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::InUse { .. }), "{error:?}");
    let probe = first.accept().await.establish().await.unwrap();
    drop(probe);
    let (client, server) =
        tokio::join!(dial(&address), async { first.accept().await.establish().await.unwrap() });
    echo_both_ways(client, server, LINES).await;
}

#[tokio::test]
async fn of_servers_that_start_at_once_one_wins() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let Address::Unix(path) = &address else { panic!("it is a unix address") };
    for _ in 0..20 {
        drop(UnixListener::bind(path).unwrap());
        let options = ListenOptions::default();
        let (one, other) =
            tokio::join!(Listener::bind(&address, &options), Listener::bind(&address, &options));
        assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
        dial(&address).await;
    }
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let Address::Unix(path) = &address else { panic!("it is a unix address") };
    std::fs::write(path, "precious").unwrap();
    let error = Listener::bind(&address, &ListenOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::NotASocket { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(path).unwrap(), "precious");
}

#[tokio::test]
async fn a_socket_file_that_is_another_now_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let Address::Unix(path) = &address else { panic!("it is a unix address") };
    let first = listen(&address).await;
    let moved = path.with_extension("old");
    std::fs::rename(path, moved).unwrap();
    let second = listen(&address).await;
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let address = Address::Unix(directory.path().join("missing/hashserver.sock"));
    let error = Listener::bind(&address, &ListenOptions::default()).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("/missing: No such file"), "{source}");
}

#[tokio::test]
async fn an_empty_host_listens_on_both_families() {
    let mut listener = listen(&":0".parse().unwrap()).await;
    let Address::Tcp(Host { name, port }) = listener.local_address().clone() else { panic!("TCP stays TCP") };
    assert!(port.unwrap() != 0);
    let mut hosts = vec!["127.0.0.1", ""];
    if name == "::" {
        hosts.push("::1");
    }
    for host in hosts {
        let address = Address::Tcp(Host::new(host, port));
        let (client, server) =
            tokio::join!(dial(&address), async { listener.accept().await.establish().await.unwrap() });
        echo_both_ways(client, server, LINES).await;
    }
    dial(&listener.local_address().clone()).await;
}

#[tokio::test]
async fn a_port_is_shared_only_on_request() {
    let shared = ListenOptions { reuseport: true, ..ListenOptions::default() };
    let first = Listener::bind(&loopback(), &shared).await.unwrap();
    let second = Listener::bind(first.local_address(), &shared).await.unwrap();
    assert_eq!(first.local_address(), second.local_address());
    let error = Listener::bind(first.local_address(), &ListenOptions::default()).await.unwrap_err();
    assert!(matches!(error, TransportError::Bind { .. }), "{error:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_with_its_address() {
    let directory = tempfile::tempdir().unwrap();
    let gone = listen(&loopback()).await.local_address().clone();
    for address in [unix_in(&directory), gone] {
        let error = Dialer::new(DialOptions::default()).dial(&address).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot connect to {address}"));
    }
}

#[tokio::test]
async fn a_server_with_a_full_backlog_is_waited_for_but_not_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let address = unix_in(&directory);
    let Address::Unix(path) = &address else { panic!("it is a unix address") };
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let connect_timeout = Duration::from_millis(50);
    let dialer = Dialer::new(DialOptions { connect_timeout, ..DialOptions::default() });
    let mut waiting = Vec::new();
    let error = loop {
        match dialer.dial(&address).await {
            Ok(connection) => waiting.push(connection),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TransportError::ConnectTimeout { .. }), "{error:?}");
    let accepted: Vec<_> = waiting.iter().map(|_| socket.accept().unwrap()).collect();
    dialer.dial(&address).await.unwrap();
    drop(accepted);
}

#[tokio::test]
async fn what_was_received_does_not_reach_debug_output() {
    let (mut client, mut server) = connect(&loopback()).await;
    client.send(b"the secret token\n").await.unwrap();
    assert!(server.receive().await.unwrap());
    assert!(!server.lines().is_empty());
    let shown = format!("{server:?}");
    assert!(shown.contains("127.0.0.1") && !shown.contains("bytes"), "{shown}");
}
