//! Upstreams that follow a script.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashserv_protocol::Address;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A TCP server that serves the connection of each number by a script.
pub(crate) struct FakeUpstream {
    pub(crate) address: Address,
    accepted: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// What is done with one connection.
pub(crate) type Serving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl FakeUpstream {
    /// Serves at a free port; connections are counted from 0.
    pub(crate) async fn start(serve: impl Fn(usize, Peer) -> Serving + Send + 'static) -> Self {
        Self::start_at("127.0.0.1:0", serve).await
    }

    pub(crate) async fn start_at(
        address: &str,
        serve: impl Fn(usize, Peer) -> Serving + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = accepted.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(count.fetch_add(1, Ordering::SeqCst), Peer::new(stream)));
            }
        });
        FakeUpstream { address, accepted, accepting }
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The upstream's end of a connection.
pub(crate) struct Peer {
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    asked: usize,
    answered: usize,
    /// The numbers of the queries after which the stream mode is to end and begin again.
    ends: VecDeque<usize>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        let (read, write) = stream.into_split();
        let lines = BufReader::new(read).lines();
        Peer { lines, write, asked: 0, answered: 0, ends: VecDeque::new() }
    }

    /// The next line; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        self.lines.next_line().await.ok().flatten()
    }

    /// Sends text; that the other end has gone is its affair.
    pub(crate) async fn send(&mut self, text: &str) {
        let _ = self.write.write_all(text.as_bytes()).await;
    }

    /// Takes the handshake.
    pub(crate) async fn greeted(mut self) -> Self {
        for expected in ["OEHASHEQUIV 1.1", "needs-headers: false"] {
            assert_eq!(self.line().await.as_deref(), Some(expected));
        }
        let via = self.line().await.unwrap();
        assert!(via.starts_with("hashserv-via: "), "{via}");
        assert_eq!(self.line().await.as_deref(), Some(""));
        self
    }

    /// The next query in a stream mode; `None` at the end. The mode is ended and begun again where it is asked
    /// for, once all is answered.
    pub(crate) async fn query(&mut self) -> Option<String> {
        loop {
            let line = self.line().await?;
            if line != "END" {
                self.asked += 1;
                return Some(line);
            }
            self.end().await;
        }
    }

    /// Takes the rest of the end of the mode.
    async fn end(&mut self) {
        self.line().await;
        self.ends.push_back(self.asked);
        self.send_ends().await;
    }

    /// Answers a query.
    pub(crate) async fn answer(&mut self, reply: &str) {
        self.send(&format!("{reply}\n")).await;
        self.answered().await;
    }

    /// Counts a query as answered.
    pub(crate) async fn answered(&mut self) {
        self.answered += 1;
        self.send_ends().await;
    }

    /// Waits until the client asks for the end of the mode, and confirms it.
    pub(crate) async fn ended(&mut self) {
        assert_eq!(self.line().await.as_deref(), Some("END"));
        self.end().await;
    }

    async fn send_ends(&mut self) {
        while self.ends.front() == Some(&self.answered) {
            self.ends.pop_front();
            self.send("ok\n\"ok\"\n").await;
        }
    }

    /// Takes the handshake, and the switch to this mode.
    pub(crate) async fn switched(self, mode: &str) -> Self {
        let mut peer = self.greeted().await;
        assert_eq!(peer.line().await, Some(format!("{{\"{mode}\":null}}")));
        peer.send("\"ok\"\n").await;
        peer
    }

    /// Takes the handshake, and the switch to looking unihashes up.
    pub(crate) async fn getting(self) -> Self {
        self.switched("get-stream").await
    }

    /// Reads so many queries for unihashes, and tells the taskhashes.
    pub(crate) async fn taskhashes(&mut self, count: usize) -> Vec<String> {
        let mut taskhashes = Vec::with_capacity(count);
        while taskhashes.len() < count {
            let Some(line) = self.query().await else { break };
            taskhashes.push(line.split_once(' ').unwrap().1.to_owned());
        }
        taskhashes
    }

    /// Answers every query with its taskhash, to the end.
    pub(crate) async fn echo(mut self) {
        while let [taskhash] = &self.taskhashes(1).await[..] {
            self.answer(taskhash).await;
        }
    }

    /// Reads to the end, and says nothing to what it is asked.
    pub(crate) async fn silence(mut self) {
        while self.query().await.is_some() {}
    }
}
