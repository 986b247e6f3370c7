//! Clients that send as much as they can and ask little.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hashserv_protocol::{Address, Hello};
use hashserv_transport::{DialOptions, Dialer};

use crate::{Addresses, Result};

/// Bytes of a repeated pattern that one write offers, about.
const WRITE: usize = 64 * 1024;

/// Time for which a client waits for a reply, so that it ends with the flood.
const READ_LIMIT: Duration = Duration::from_millis(500);

/// What a client of a flood does.
#[derive(Clone, Copy)]
pub(crate) enum Flood {
    /// Says something over a WebSocket, then repeats something.
    WebSocket(&'static [u8], &'static [u8]),
    /// Says something over TCP after the handshake, then repeats something.
    Lines(&'static [u8], &'static [u8]),
    /// Connects again and again, and leaves after a part of the handshake.
    HalfHandshake,
    /// Connects again and again, and sends a request that is refused.
    Refused,
    /// Connects again and again with a TLS handshake.
    Tls,
}

/// Masks are zero, so that the payload is what it is.
pub(crate) const FLOODS: [(&str, Flood); 11] = [
    ("ws-fragments", Flood::WebSocket(&[0x01, 0x81, 0, 0, 0, 0, b'x'], &[0x00, 0x81, 0, 0, 0, 0, b'x'])),
    ("ws-pings", Flood::WebSocket(&[], &[0x89, 0x80, 0, 0, 0, 0])),
    ("ws-pongs", Flood::WebSocket(&[], &[0x8a, 0x80, 0, 0, 0, 0])),
    ("ws-empty", Flood::WebSocket(&[], &[0x81, 0x80, 0, 0, 0, 0])),
    ("tcp-blank", Flood::Lines(b"", b"\n")),
    ("tcp-chunks", Flood::Lines(b"{\"chunk-stream\": null}\n", b"x\n")),
    ("tcp-pings", Flood::Lines(b"", b"{\"ping\": {}}\n")),
    ("tcp-lookups", Flood::Lines(b"{\"get-stream\": null}\n", b"m t\n")),
    ("half-handshake", Flood::HalfHandshake),
    ("refused", Flood::Refused),
    ("tls", Flood::Tls),
];

impl Flood {
    /// Starts the clients, which go on until they are stopped.
    pub(crate) fn start(self, clients: usize, addresses: &Arc<Addresses>, stop: &Arc<AtomicBool>) {
        for _ in 0..clients {
            let (addresses, stop) = (addresses.clone(), stop.clone());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    // A server may well have enough of it.
                    let _ = self.run(&addresses, &stop);
                }
            });
        }
    }

    fn run(self, addresses: &Addresses, stop: &AtomicBool) -> Result<()> {
        let hello = Hello::default().encode();
        match self {
            Flood::WebSocket(first, repeated) => {
                let mut stream = upgrade(&addresses.ws)?;
                for line in hello.lines() {
                    stream.write_all(&[0x81, 0x80 | u8::try_from(line.len())?, 0, 0, 0, 0])?;
                    stream.write_all(line.as_bytes())?;
                }
                pour(stream, first, repeated, stop)
            }
            Flood::Lines(first, repeated) => {
                let mut stream = connect(&addresses.tcp)?;
                stream.write_all(hello.as_bytes())?;
                pour(stream, first, repeated, stop)
            }
            Flood::HalfHandshake => {
                Ok(connect(&addresses.tcp)?.write_all(&hello.as_bytes()[..hello.len() / 2])?)
            }
            Flood::Refused => {
                let mut stream = connect(&addresses.tcp)?;
                stream.write_all(hello.as_bytes())?;
                stream.write_all(b"{\"nonsense\": {}}\n")?;
                stream.read_to_end(&mut Vec::new())?;
                Ok(())
            }
            Flood::Tls => dial(&addresses.wss),
        }
    }
}

fn connect(address: &Address) -> Result<TcpStream> {
    let (Address::Tcp(host) | Address::WebSocket { host, .. }) = address else {
        return Err(format!("{address} is no TCP address").into());
    };
    let stream = TcpStream::connect((host.name.as_str(), host.port.unwrap_or_default()))?;
    stream.set_read_timeout(Some(READ_LIMIT))?;
    stream.set_write_timeout(Some(READ_LIMIT))?;
    Ok(stream)
}

fn upgrade(address: &Address) -> Result<TcpStream> {
    const REQUEST: &[u8] =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = connect(address)?;
    stream.write_all(REQUEST)?;
    stream.read_exact(&mut [0; 64])?;
    Ok(stream)
}

/// Sends as fast as the server takes it; a thread drops the replies.
fn pour(mut stream: TcpStream, first: &[u8], repeated: &[u8], stop: &AtomicBool) -> Result<()> {
    let mut replies = stream.try_clone()?;
    replies.set_read_timeout(None)?;
    let reader = thread::spawn(move || {
        let mut scratch = vec![0; WRITE];
        while matches!(replies.read(&mut scratch), Ok(count) if count > 0) {}
    });
    let mut outcome = stream.write_all(first);
    let block = repeated.repeat(WRITE / repeated.len());
    let mut sent = 0;
    while outcome.is_ok() && !stop.load(Ordering::Relaxed) {
        outcome = match stream.write(&block[sent..]) {
            Ok(count) => {
                sent = (sent + count) % block.len();
                Ok(())
            }
            // It waits for the server.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        };
    }
    let _ = stream.shutdown(Shutdown::Both);
    reader.join().map_err(|_| "a reader panicked")?;
    Ok(outcome?)
}

/// Without what a client remembers of earlier sessions. The certificate is not trusted: that is found when the server
/// has done its part.
fn dial(address: &Address) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _ = runtime.block_on(Dialer::new(DialOptions::default()).dial(address));
    Ok(())
}
