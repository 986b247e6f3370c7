//! Servers that follow a script, in memory.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;

use hashserv_transport::{Connection, Limits, TransportError};

use crate::{Client, ClientOptions, Connect, Connecting};

/// What a server does with one connection.
pub(crate) type Script = Box<dyn FnOnce(Peer) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A script from an async closure.
pub(crate) fn script<F>(run: impl FnOnce(Peer) -> F + Send + 'static) -> Script
where
    F: Future<Output = ()> + Send + 'static,
{
    Box::new(move |peer| Box::pin(run(peer)))
}

/// A client whose first connection is served by the first script, and so on. To dial once more fails.
pub(crate) fn client(scripts: Vec<Script>) -> Client {
    client_with(scripts, ClientOptions::default())
}

/// The same, with options.
pub(crate) fn client_with(scripts: Vec<Script>, options: ClientOptions) -> Client {
    client_that_dials(scripts.into_iter().map(Ok).collect(), options)
}

/// A client whose dials come to these outcomes, one after the other. To dial once more fails.
pub(crate) fn client_that_dials(
    outcomes: VecDeque<Result<Script, TransportError>>,
    options: ClientOptions,
) -> Client {
    Client::new(Scripts(Mutex::new(outcomes)), options)
}

struct Scripts(Mutex<VecDeque<Result<Script, TransportError>>>);

/// The failure of a dial.
pub(crate) fn unreachable(kind: io::ErrorKind) -> TransportError {
    TransportError::Connect { address: "unix://script".parse().unwrap(), source: kind.into() }
}

impl Connect for Scripts {
    fn connect(&self) -> Connecting<'_> {
        let outcome = self.0.lock().unwrap().pop_front();
        Box::pin(async move {
            let script = outcome.unwrap_or_else(|| Err(unreachable(io::ErrorKind::NotFound)))?;
            let (connection, peer) = Connection::pair(Limits::default());
            tokio::spawn(script(Peer(peer)));
            Ok(connection)
        })
    }
}

/// The server's end of a connection.
pub(crate) struct Peer(pub(crate) Connection);

impl Peer {
    /// The next line; `None` when the client has closed the connection.
    pub(crate) async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.0.lines().next_line().unwrap() {
                return Some(String::from_utf8(line.to_vec()).unwrap());
            }
            if !self.0.receive().await.unwrap() {
                return None;
            }
        }
    }

    /// Expects these lines.
    pub(crate) async fn expect(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.line().await.as_deref(), Some(*line));
        }
    }

    /// Expects the handshake.
    pub(crate) async fn greeted(mut self) -> Self {
        self.expect(&["OEHASHEQUIV 1.1", "needs-headers: false", ""]).await;
        self
    }

    /// Sends lines, whose ends are added.
    pub(crate) async fn send(&mut self, lines: &[&str]) {
        let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
        self.0.send(text.as_bytes()).await.unwrap();
    }

    /// Reads whatever comes and answers nothing, until the client closes the connection.
    pub(crate) async fn until_silence(mut self) {
        while self.line().await.is_some() {}
    }

    /// Waits until the client closes the connection.
    pub(crate) async fn until_closed(mut self) {
        assert_eq!(self.line().await, None);
    }
}

/// A server that answers one ping.
pub(crate) fn one_ping() -> Script {
    script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.expect(&[r#"{"ping":null}"#]).await;
        peer.send(&[r#"{"alive": true}"#]).await;
        peer.until_closed().await;
    })
}

/// A server that reads one request and closes the connection.
pub(crate) fn hangs_up() -> Script {
    script(async |peer| {
        let mut peer = peer.greeted().await;
        peer.line().await;
    })
}
