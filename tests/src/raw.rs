//! A client that controls each byte.

use std::io;

use futures_util::FutureExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::METHOD;
use crate::wait::DEADLINE;
use crate::wire::Wire;

/// The lines that open a connection.
pub const HANDSHAKE: [&str; 3] = ["OEHASHEQUIV 1.1", "needs-headers: false", ""];

/// From this length on a message is sent in chunks on a stream, of at most this length.
pub const CHUNK: usize = 32 * 1024 - 1;

/// A message and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its text.
    pub text: String,
    /// Whether it came in chunks.
    pub chunked: bool,
}

/// A connection, over any transport, that sends exactly what it is told.
///
/// The methods that return a `Result` are for tests in which a connection may fail; the others panic when
/// it does.
pub struct RawClient {
    wire: Wire,
}

impl RawClient {
    /// Connects, and sends nothing.
    ///
    /// # Errors
    ///
    /// When there is no server, or it does not take the connection in time.
    pub async fn dial(address: &str) -> io::Result<Self> {
        let wire = timeout(DEADLINE, Wire::dial(address)).await.map_err(|_| timed_out("a connection"))??;
        Ok(RawClient { wire })
    }

    /// Connects and opens the connection.
    ///
    /// # Panics
    ///
    /// When there is no server.
    pub async fn open(address: &str) -> Self {
        let mut client = RawClient::dial(address).await.expect("a connection");
        client.send_lines(&HANDSHAKE).await;
        client
    }

    /// Sends bytes as they are; over a WebSocket as one binary message.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(DEADLINE, self.wire.send_bytes(bytes)).await.map_err(|_| timed_out("sending"))?
    }

    /// Sends lines.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn try_send_lines<T: AsRef<str>>(&mut self, lines: &[T]) -> io::Result<()> {
        timeout(DEADLINE, self.wire.send_lines(lines)).await.map_err(|_| timed_out("sending"))?
    }

    /// The next line; `None` when the server has closed the connection.
    ///
    /// # Errors
    ///
    /// When nothing comes in time, or half a line.
    pub async fn try_line(&mut self) -> io::Result<Option<String>> {
        timeout(DEADLINE, self.wire.receive_line()).await.map_err(|_| timed_out("a line"))?
    }

    /// The next message, in chunks or not; `None` when the server has closed the connection.
    ///
    /// # Errors
    ///
    /// When nothing comes in time, or a message in chunks that breaks the rules for them.
    pub async fn try_message(&mut self) -> io::Result<Option<Message>> {
        let Some(text) = self.try_line().await? else { return Ok(None) };
        let is_chunk_stream = text.starts_with("{\"chunk-stream\"");
        if !is_chunk_stream {
            return Ok(Some(Message { text, chunked: false }));
        }
        if self.wire.is_websocket() {
            return Err(io::Error::other("a message in chunks over a WebSocket"));
        }
        let mut message = Message { text: String::new(), chunked: true };
        loop {
            let piece = self.try_line().await?.ok_or_else(|| io::Error::other("closed within chunks"))?;
            if piece.is_empty() {
                return Ok(Some(message));
            }
            if piece.chars().count() > CHUNK || piece.trim_end() != piece {
                return Err(io::Error::other("a chunk that is too long, or ends with a blank"));
            }
            message.text.push_str(&piece);
        }
    }

    /// Sends bytes as they are; over a WebSocket as one binary message.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        self.try_send_bytes(bytes).await.expect("bytes are sent");
    }

    /// Sends lines with one write; over a WebSocket each as one text message.
    pub async fn send_lines<T: AsRef<str>>(&mut self, lines: &[T]) {
        self.try_send_lines(lines).await.expect("lines are sent");
    }

    /// Sends one line.
    pub async fn send_line(&mut self, line: &str) {
        self.send_lines(&[line]).await;
    }

    /// The next line.
    pub async fn line(&mut self) -> String {
        self.try_line().await.expect("a line").expect("a line, but the server closed the connection")
    }

    /// The next message.
    pub async fn message(&mut self) -> Value {
        let message = self.try_message().await.expect("a message");
        let message = message.expect("a message, but the server closed the connection");
        serde_json::from_str(&message.text).unwrap_or_else(|_| panic!("no JSON: {}", message.text))
    }

    /// Sends a request, in chunks where the transport demands it.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub async fn try_send(&mut self, request: &Value) -> io::Result<()> {
        let text = request.to_string();
        if self.wire.is_websocket() || text.len() < CHUNK {
            return self.try_send_lines(&[text]).await;
        }
        let mut lines = vec!["{\"chunk-stream\": null}".to_owned()];
        lines.extend(pieces(&text));
        lines.push(String::new());
        self.try_send_lines(&lines).await
    }

    /// Sends a request, in chunks where the transport demands it.
    pub async fn send(&mut self, request: &Value) {
        self.try_send(request).await.expect("a request is sent");
    }

    /// Sends a request and takes its reply, which must not be an error.
    pub async fn ask(&mut self, request: Value) -> Value {
        self.send(&request).await;
        let reply = self.message().await;
        assert!(reply.get("invoke-error").is_none(), "{request} was refused: {reply}");
        reply
    }

    /// Sends a request that must be refused, after which the server closes the connection; returns why.
    pub async fn ask_refused(&mut self, request: &Value) -> String {
        self.send(request).await;
        self.refusal().await
    }

    /// The refusal that must come next, before the server closes the connection.
    pub async fn refusal(&mut self) -> String {
        let reply = self.message().await;
        let message = reply["invoke-error"]["message"].as_str();
        let message = message.unwrap_or_else(|| panic!("not refused: {reply}")).to_owned();
        self.closed().await;
        message
    }

    /// The server must close the connection without another word.
    pub async fn closed(&mut self) {
        let line = self.try_line().await.expect("the end of the connection");
        assert_eq!(line, None, "the connection should have been closed");
    }

    /// With which status the server has closed a WebSocket, if it told one.
    pub fn close_status(&self) -> Option<u16> {
        self.wire.close_status()
    }

    /// Whether a line has arrived already, which is then taken.
    pub fn has_line(&mut self) -> bool {
        self.wire.receive_line().now_or_never().is_some()
    }

    /// Asks for the unihashes of tasks in a stream mode, all at once, and takes the answers.
    pub async fn unihashes<T: AsRef<str>>(&mut self, taskhashes: &[T]) -> Vec<String> {
        let mut lines = vec!["{\"get-stream\": null}".to_owned()];
        lines.extend(taskhashes.iter().map(|taskhash| format!("{METHOD} {}", taskhash.as_ref())));
        lines.push("END".to_owned());
        self.send_lines(&lines).await;
        assert_eq!(self.line().await, "\"ok\"");
        let mut unihashes = Vec::with_capacity(taskhashes.len());
        for _ in taskhashes {
            unihashes.push(self.line().await);
        }
        assert_eq!(self.line().await, "ok");
        unihashes
    }

    /// Asks for a sign of life.
    pub async fn ping(&mut self) {
        assert_eq!(self.ask(serde_json::json!({"ping": {}})).await, serde_json::json!({"alive": true}));
    }
}

/// A text in chunks, none of which ends with a blank or within a character.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(CHUNK);
        while !rest.is_char_boundary(end) || (end < rest.len() && rest[..end].ends_with(char::is_whitespace))
        {
            end -= 1;
        }
        pieces.push(rest[..end].to_owned());
        rest = &rest[end..];
    }
    pieces
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, format!("waited in vain for {what}"))
}
