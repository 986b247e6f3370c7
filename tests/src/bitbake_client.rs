//! A client that behaves as BitBake's does, for tests of what a build sees of a server.
//!
//! - In the stream modes it takes **any** line for the reply, and records it: [`Seen::foreign_lines`].
//! - After a close without reply it reconnects and retries, [`RETRIES`] times at most. Then the call fails as
//!   [`BuildTrouble::ConnectionFailed`], which a build survives with a warning.
//! - An invoke-error, or what is no reply, is a [`BuildTrouble::Exception`], which fails a build.
//! - It waits at most [`REPLY_LIMIT`] for each line.
//! - A task reports over a connection of its own: [`report_of_a_task`].

use std::io;
use std::time::{Duration, Instant};

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::is_hash;
use crate::raw::{CHUNK, HANDSHAKE, pieces};
use crate::wire::{Io, Wire};

/// How often a call is repeated after a close without reply.
pub const RETRIES: usize = 3;

/// How long the client waits for a connection and for each line.
pub const REPLY_LIMIT: Duration = Duration::from_secs(30);

/// A call that failed, by its effect on a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildTrouble {
    /// An exception, which **fails the build**: the text of an invoke-error, or what is no reply.
    Exception(String),
    /// The connection failed, and failed again: the build warns and goes on without hash equivalence.
    ConnectionFailed(String),
}

/// Mode of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Normal,
    Get,
    Exists,
}

impl Mode {
    /// Whether a line is one that a server may send as a reply.
    fn allows(self, line: &str) -> bool {
        match self {
            Mode::Normal => true,
            Mode::Get => line.is_empty() || is_hash(line),
            Mode::Exists => line == "true" || line == "false",
        }
    }

    fn switch(self) -> &'static str {
        match self {
            Mode::Normal => "END",
            Mode::Get => "{\"get-stream\": null}",
            Mode::Exists => "{\"exists-stream\": null}",
        }
    }
}

/// A call, which can be repeated.
#[derive(Clone, Copy)]
enum Call<'a> {
    Request(&'a Value),
    Wave(Mode, &'a [String]),
}

/// What a client has seen of a server.
#[derive(Debug, Default)]
pub struct Seen {
    /// Lines that were taken for replies in a stream mode, and that no server may send there: in get-stream all but
    /// empty lines and 64 hex digits, in exists-stream all but `true` and `false`.
    pub foreign_lines: Vec<String>,
    /// Number of lines that were taken for replies in a stream mode.
    pub stream_lines: usize,
    /// The longest wait for a connection, a line or a close.
    pub longest_wait: Duration,
    /// Number of connections that failed, or were closed without a reply, during a call.
    pub closes: usize,
}

/// A build's connection to a server.
pub struct BitbakeClient {
    address: String,
    login: Option<Value>,
    connection: Option<Connection>,
    seen: Seen,
}

impl BitbakeClient {
    /// A client that connects at its first call.
    #[must_use]
    pub fn new(address: &str) -> Self {
        let address = address.to_owned();
        BitbakeClient { address, login: None, connection: None, seen: Seen::default() }
    }

    /// Logs in on every connection.
    #[must_use]
    pub fn with_login(mut self, username: &str, token: &str) -> Self {
        self.login = Some(json!({"auth": {"username": username, "token": token}}));
        self
    }

    /// What the client has seen since it was made, or since [`BitbakeClient::take_seen`].
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Returns what the client has seen, and begins anew.
    pub fn take_seen(&mut self) -> Seen {
        std::mem::take(&mut self.seen)
    }

    /// Sends a request in normal mode, and returns its reply.
    ///
    /// # Errors
    ///
    /// As a build sees them.
    pub async fn ask(&mut self, request: &Value) -> Result<Value, BuildTrouble> {
        let reply = self.call(Call::Request(request)).await?.swap_remove(0);
        parse(&reply)
    }

    /// Asks for the unihashes of tasks, all at once, in get-stream mode. The replies are whatever came.
    ///
    /// # Errors
    ///
    /// As a build sees them.
    pub async fn unihashes<T: AsRef<str>>(
        &mut self,
        method: &str,
        taskhashes: &[T],
    ) -> Result<Vec<String>, BuildTrouble> {
        let lines: Vec<String> =
            taskhashes.iter().map(|taskhash| format!("{method} {}", taskhash.as_ref())).collect();
        self.call(Call::Wave(Mode::Get, &lines)).await
    }

    /// Asks whether unihashes exist, all at once, in exists-stream mode. The replies are whatever came.
    ///
    /// # Errors
    ///
    /// As a build sees them.
    pub async fn exist(&mut self, unihashes: &[String]) -> Result<Vec<String>, BuildTrouble> {
        self.call(Call::Wave(Mode::Exists, unihashes)).await
    }

    async fn call(&mut self, call: Call<'_>) -> Result<Vec<String>, BuildTrouble> {
        let mut retries_left = RETRIES;
        loop {
            let outcome = self.attempt(call).await;
            if outcome.is_ok() {
                return outcome;
            }
            self.connection = None;
            let is_lost = matches!(outcome, Err(BuildTrouble::ConnectionFailed(_)));
            self.seen.closes += usize::from(is_lost);
            if !is_lost || retries_left == 0 {
                return outcome;
            }
            retries_left -= 1;
            // Where connections are refused at once, others must get their turn.
            tokio::task::yield_now().await;
        }
    }

    async fn attempt(&mut self, call: Call<'_>) -> Result<Vec<String>, BuildTrouble> {
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
            if let Some(login) = &self.login {
                let lines = [login.to_string()];
                parse(&self.message(&lines).await?)?;
            }
        }
        match call {
            Call::Request(request) => {
                self.enter(Mode::Normal).await?;
                let lines = lines_of(request, self.connection.as_ref().is_some_and(Connection::is_websocket));
                Ok(vec![self.message(&lines).await?])
            }
            Call::Wave(mode, lines) => {
                self.enter(mode).await?;
                self.wave(mode, lines).await
            }
        }
    }

    async fn connect(&mut self) -> Result<Connection, BuildTrouble> {
        let start = Instant::now();
        let wire = within_limit(Wire::dial(&self.address)).await;
        self.waited(start);
        let mut connection = Connection::new(wire.map_err(failed)?);
        within_limit(connection.sender.send(&HANDSHAKE)).await.map_err(failed)?;
        Ok(connection)
    }

    /// Switches to a mode, by normal mode where that is needed.
    async fn enter(&mut self, mode: Mode) -> Result<(), BuildTrouble> {
        let current = self.connection()?.mode;
        if current != mode && current != Mode::Normal {
            let line = self.message(&[Mode::Normal.switch()]).await?;
            if line != "ok" {
                return Err(BuildTrouble::Exception(format!("a stream ended by {line:?}")));
            }
            self.connection()?.mode = Mode::Normal;
        }
        if self.connection()?.mode != mode {
            let reply = self.message(&[mode.switch()]).await?;
            if parse(&reply)? != "ok" {
                return Err(BuildTrouble::Exception(format!("a stream began by {reply:?}")));
            }
            self.connection()?.mode = mode;
        }
        Ok(())
    }

    /// Sends lines and returns the message that comes, put together where it came in chunks.
    async fn message<T: AsRef<str>>(&mut self, lines: &[T]) -> Result<String, BuildTrouble> {
        let start = Instant::now();
        let sent = within_limit(self.connection()?.sender.send(lines)).await;
        // A server may refuse and close before it has read all: the refusal can be read all the same.
        let line = self.line(start).await.map_err(|trouble| sent.map_or_else(failed, |()| trouble))?;
        let is_chunked = !self.connection()?.is_websocket() && line.starts_with("{\"chunk-stream\"");
        if !is_chunked {
            return Ok(line);
        }
        let mut text = String::new();
        loop {
            let piece = self.line(Instant::now()).await?;
            if piece.is_empty() {
                return Ok(text);
            }
            text.push_str(&piece);
        }
    }

    /// Returns the next line, waited for since `start`.
    async fn line(&mut self, start: Instant) -> Result<String, BuildTrouble> {
        let line = within_limit(self.connection()?.receiver.line()).await;
        self.waited(start);
        line.map_err(failed)
    }

    /// Writes all lines while it reads as many replies.
    async fn wave(&mut self, mode: Mode, lines: &[String]) -> Result<Vec<String>, BuildTrouble> {
        let connection = self.connection()?;
        let (sender, receiver) = (&mut connection.sender, &mut connection.receiver);
        let mut longest = Duration::ZERO;
        let mut replies = Vec::with_capacity(lines.len());
        let reading = async {
            while replies.len() < lines.len() {
                let start = Instant::now();
                let line = within_limit(receiver.line()).await;
                longest = longest.max(start.elapsed());
                replies.push(line?);
            }
            io::Result::Ok(())
        };
        // What was sent is answered even where the server closes before it has read all: reading decides.
        let (sent, read) = tokio::join!(within_limit(sender.send(lines)), reading);
        self.seen.longest_wait = self.seen.longest_wait.max(longest);
        self.seen.stream_lines += replies.len();
        self.seen.foreign_lines.extend(replies.iter().filter(|line| !mode.allows(line)).cloned());
        read.and(sent).map_err(failed)?;
        Ok(replies)
    }

    fn connection(&mut self) -> Result<&mut Connection, BuildTrouble> {
        self.connection.as_mut().ok_or_else(|| BuildTrouble::ConnectionFailed("not connected".to_owned()))
    }

    fn waited(&mut self, start: Instant) {
        self.seen.longest_wait = self.seen.longest_wait.max(start.elapsed());
    }
}

/// Reports a task as BitBake does: over a connection of its own, which is closed afterwards. Returns the reply and
/// the client, for what it has seen.
pub async fn report_of_a_task(address: &str, report: &Value) -> (Result<Value, BuildTrouble>, BitbakeClient) {
    let mut client = BitbakeClient::new(address);
    let reply = client.ask(report).await;
    client.connection = None;
    (reply, client)
}

fn parse(reply: &str) -> Result<Value, BuildTrouble> {
    let value: Value = serde_json::from_str(reply)
        .map_err(|error| BuildTrouble::Exception(format!("no JSON ({error}): {reply:?}")))?;
    match value.get("invoke-error") {
        Some(error) => Err(BuildTrouble::Exception(format!("invoke-error {error}"))),
        None => Ok(value),
    }
}

/// The lines of a request: one, or chunks where a stream demands them. The text is ASCII where the values are.
fn lines_of(request: &Value, is_websocket: bool) -> Vec<String> {
    let text = request.to_string();
    if is_websocket || text.len() < CHUNK {
        return vec![text];
    }
    let mut lines = vec!["{\"chunk-stream\": null}".to_owned()];
    lines.extend(pieces(&text));
    lines.push(String::new());
    lines
}

fn failed(error: io::Error) -> BuildTrouble {
    BuildTrouble::ConnectionFailed(error.to_string())
}

async fn within_limit<T>(what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(REPLY_LIMIT, what).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

type BoxedIo = Box<dyn Io>;

struct Connection {
    sender: Sender,
    receiver: Receiver,
    mode: Mode,
}

enum Sender {
    Stream(WriteHalf<BoxedIo>),
    WebSocket(SplitSink<WebSocketStream<BoxedIo>, Message>),
}

enum Receiver {
    Stream(BufReader<ReadHalf<BoxedIo>>),
    WebSocket(SplitStream<WebSocketStream<BoxedIo>>),
}

impl Connection {
    fn new(wire: Wire) -> Self {
        let (sender, receiver) = match wire {
            Wire::Stream { reader, writer } => (Sender::Stream(writer), Receiver::Stream(reader)),
            Wire::WebSocket { socket, .. } => {
                let (sender, receiver) = (*socket).split();
                (Sender::WebSocket(sender), Receiver::WebSocket(receiver))
            }
        };
        Connection { sender, receiver, mode: Mode::Normal }
    }

    fn is_websocket(&self) -> bool {
        matches!(self.sender, Sender::WebSocket(_))
    }
}

impl Sender {
    async fn send<T: AsRef<str>>(&mut self, lines: &[T]) -> io::Result<()> {
        match self {
            Sender::Stream(writer) => {
                let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
                writer.write_all(text.as_bytes()).await?;
                writer.flush().await
            }
            Sender::WebSocket(sink) => {
                for line in lines {
                    sink.feed(Message::Text(line.as_ref().into())).await.map_err(io::Error::other)?;
                }
                sink.flush().await.map_err(io::Error::other)
            }
        }
    }
}

impl Receiver {
    /// Returns the next line without white space at its end; a close is an error.
    async fn line(&mut self) -> io::Result<String> {
        match self {
            Receiver::Stream(reader) => {
                let mut line = Vec::new();
                reader.read_until(b'\n', &mut line).await?;
                if line.pop() != Some(b'\n') {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let line = String::from_utf8(line).map_err(io::Error::other)?;
                Ok(line.trim_end().to_owned())
            }
            Receiver::WebSocket(stream) => loop {
                match stream.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(other)) => return Err(io::Error::other(format!("closed by {other:?}"))),
                    Some(Err(error)) => return Err(io::Error::other(error)),
                    None => return Err(io::ErrorKind::UnexpectedEof.into()),
                }
            },
        }
    }
}
