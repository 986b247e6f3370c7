//! The bytes of a connection, on a stream or as WebSocket messages.

use std::io;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::tls;

/// What carries bytes.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

type BoxedIo = Box<dyn Io>;

pub(crate) enum Wire {
    Stream {
        reader: BufReader<ReadHalf<BoxedIo>>,
        writer: WriteHalf<BoxedIo>,
    },
    WebSocket {
        socket: Box<WebSocketStream<BoxedIo>>,
        /// With which the server has closed it.
        status: Option<u16>,
    },
}

impl Wire {
    pub(crate) async fn dial(address: &str) -> io::Result<Self> {
        if let Some(rest) = address.strip_prefix("ws://") {
            return websocket(Box::new(tcp(authority(rest)).await?), rest).await;
        }
        if let Some(rest) = address.strip_prefix("wss://") {
            let host = authority(rest);
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let stream = TlsConnector::from(tls::client_config()).connect(name, tcp(host).await?).await?;
            return websocket(Box::new(stream), rest).await;
        }
        let socket: BoxedIo = match address.strip_prefix("unix://") {
            Some(path) => Box::new(UnixStream::connect(path).await?),
            None => Box::new(tcp(address).await?),
        };
        let (reader, writer) = tokio::io::split(socket);
        Ok(Wire::Stream { reader: BufReader::new(reader), writer })
    }

    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self, Wire::WebSocket { .. })
    }

    /// With which status the server has closed a WebSocket, if it told one.
    pub(crate) fn close_status(&self) -> Option<u16> {
        match self {
            Wire::Stream { .. } => None,
            Wire::WebSocket { status, .. } => *status,
        }
    }

    /// Sends bytes as they are, or as one binary message.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Wire::Stream { writer, .. } => {
                writer.write_all(bytes).await?;
                writer.flush().await
            }
            Wire::WebSocket { socket, .. } => {
                socket.send(Message::Binary(bytes.to_vec().into())).await.map_err(websocket_error)
            }
        }
    }

    /// Sends lines with one write, or each as one text message.
    pub(crate) async fn send_lines<T: AsRef<str>>(&mut self, lines: &[T]) -> io::Result<()> {
        match self {
            Wire::Stream { .. } => {
                let text: String = lines.iter().flat_map(|line| [line.as_ref(), "\n"]).collect();
                self.send_bytes(text.as_bytes()).await
            }
            Wire::WebSocket { socket, .. } => {
                for line in lines {
                    let message = Message::Text(line.as_ref().into());
                    socket.feed(message).await.map_err(websocket_error)?;
                }
                socket.flush().await.map_err(websocket_error)
            }
        }
    }

    /// The next line, without its end; `None` when the server has closed the connection.
    pub(crate) async fn receive_line(&mut self) -> io::Result<Option<String>> {
        match self {
            Wire::Stream { reader, .. } => {
                let mut line = Vec::new();
                match reader.read_until(b'\n', &mut line).await {
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                    other => other?,
                };
                if line.is_empty() {
                    return Ok(None);
                }
                if line.pop() != Some(b'\n') {
                    return Err(io::Error::other("the connection ended within a line"));
                }
                String::from_utf8(line).map(Some).map_err(io::Error::other)
            }
            Wire::WebSocket { socket, status } => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(Some(text.as_str().to_owned())),
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                    Some(Ok(Message::Close(frame))) => {
                        *status = frame.map(|frame| frame.code.into());
                        return Ok(None);
                    }
                    None => return Ok(None),
                    Some(Ok(other)) => return Err(io::Error::other(format!("unexpected {other:?}"))),
                    Some(Err(error)) => match websocket_error(error) {
                        error if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                        error => return Err(error),
                    },
                }
            },
        }
    }
}

async fn tcp(host: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(host).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn websocket(socket: BoxedIo, rest: &str) -> io::Result<Wire> {
    let (stream, _) = client_async(format!("ws://{rest}"), socket).await.map_err(websocket_error)?;
    Ok(Wire::WebSocket { socket: Box::new(stream), status: None })
}

/// `HOST:PORT` of what follows the scheme.
fn authority(rest: &str) -> &str {
    rest.split('/').next().unwrap_or(rest)
}

/// An end without the good-bye of WebSocket counts as a reset.
fn websocket_error(error: tungstenite::Error) -> io::Error {
    use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
    match error {
        tungstenite::Error::Io(error) => error,
        tungstenite::Error::Protocol(ResetWithoutClosingHandshake)
        | tungstenite::Error::ConnectionClosed
        | tungstenite::Error::AlreadyClosed => io::ErrorKind::ConnectionReset.into(),
        error => io::Error::other(error),
    }
}
