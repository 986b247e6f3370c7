//! Clients of unix sockets that cost as little as possible: what is measured is the server.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use hashserv_protocol::Hello;
use memchr::memchr;

use crate::Result;
use crate::drive::Client;
use crate::keys::{HASH, Kind, METHOD, Numbers, append_hash};

/// Room for the replies to any batch here.
const REPLIES: usize = 1024 * 1024;

/// A blocking connection that speaks lines.
pub(crate) struct Wire {
    stream: UnixStream,
    received: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn connect(socket: &Path) -> Result<Self> {
        Ok(Wire { stream: UnixStream::connect(socket)?, received: vec![0; REPLIES], start: 0, end: 0 })
    }

    /// Connects to a hash equivalence server, and switches to a stream mode.
    pub(crate) fn stream_mode(socket: &Path, mode: &str) -> Result<Self> {
        let mut wire = Wire::connect(socket)?;
        wire.send(greeting(mode).as_bytes())?;
        expect_ok(wire.line()?)?;
        Ok(wire)
    }

    /// Goes on with a new connection and the memory of the old one.
    pub(crate) fn reconnect(&mut self, socket: &Path) -> Result<()> {
        self.stream = UnixStream::connect(socket)?;
        (self.start, self.end) = (0, 0);
        Ok(())
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next line, without its end.
    pub(crate) fn line(&mut self) -> Result<&[u8]> {
        let mut scanned = self.start;
        loop {
            if let Some(at) = memchr(b'\n', &self.received[scanned..self.end]) {
                let line = self.start..scanned + at;
                self.start = line.end + 1;
                return Ok(&self.received[line]);
            }
            scanned = self.end - self.start;
            self.fill()?;
        }
    }

    /// Moves what is left to the front, and reads more behind it.
    fn fill(&mut self) -> Result<()> {
        self.received.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let count = self.stream.read(&mut self.received[self.end..])?;
        if count == 0 {
            return Err("the server closed the connection".into());
        }
        self.end += count;
        Ok(())
    }
}

/// The handshake and the switch to a stream mode.
pub(crate) fn greeting(mode: &str) -> String {
    format!("{}{{\"{mode}\": null}}\n", Hello::default().encode())
}

pub(crate) fn expect_ok(reply: &[u8]) -> Result<()> {
    if reply == b"\"ok\"" {
        Ok(())
    } else {
        Err(format!("no stream mode: {}", String::from_utf8_lossy(reply)).into())
    }
}

/// What is looked up, and how.
#[derive(Clone, Copy)]
pub(crate) enum Query {
    Get,
    Exists,
    /// The same key as that of `Get`, from Redis.
    RedisGet,
}

impl Query {
    pub(crate) fn append(self, number: u64, out: &mut Vec<u8>) {
        match self {
            Query::Get => append_task(number, out),
            Query::Exists => append_hash(Kind::Unihash, number, out),
            Query::RedisGet => {
                out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$92\r\n");
                append_task(number, out);
                out.push(b'\r');
            }
        }
        out.push(b'\n');
    }

    fn connect(self, socket: &Path) -> Result<Wire> {
        match self {
            Query::Get => Wire::stream_mode(socket, "get-stream"),
            Query::Exists => Wire::stream_mode(socket, "exists-stream"),
            Query::RedisGet => Wire::connect(socket),
        }
    }

    pub(crate) fn expect_hit(self, wire: &mut Wire) -> Result<()> {
        let line = wire.line()?;
        let is_hit = match self {
            Query::Get => line.len() == HASH,
            Query::Exists => line == b"true",
            Query::RedisGet => line == b"$64\r" && wire.line()?.len() == HASH + 1,
        };
        if is_hit { Ok(()) } else { Err("a key was not found".into()) }
    }
}

/// What names a task in a look-up, and in Redis; 92 bytes.
pub(crate) fn append_task(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(METHOD.as_bytes());
    out.push(b' ');
    append_hash(Kind::Taskhash, number, out);
}

/// Asks so many keys at a time, and waits for the replies.
pub(crate) struct Lookups {
    wire: Wire,
    query: Query,
    window: u64,
    numbers: Numbers,
    request: Vec<u8>,
}

impl Lookups {
    pub(crate) fn connect(socket: &Path, query: Query, window: u64, numbers: Numbers) -> Result<Self> {
        Ok(Lookups { wire: query.connect(socket)?, query, window, numbers, request: Vec::new() })
    }
}

impl Client for Lookups {
    fn exchange(&mut self) -> Result<u64> {
        self.request.clear();
        for _ in 0..self.window {
            self.query.append(self.numbers.next(), &mut self.request);
        }
        self.wire.send(&self.request)?;
        for _ in 0..self.window {
            self.query.expect_hit(&mut self.wire)?;
        }
        Ok(self.window)
    }
}
