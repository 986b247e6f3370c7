//! The HTTP request that opens a WebSocket.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::error::{CapacityError, ProtocolError};
use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::goodbye::hang_up;
use crate::metered::Metered;
use crate::socket::Socket;
use crate::{Peer, TransportError};

/// The longest request that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Answers a client's request for a WebSocket, whatever its path and origin.
pub(crate) async fn accept(
    mut socket: Socket,
    peer: &Peer,
    config: WebSocketConfig,
) -> Result<WebSocketStream<Metered>, TransportError> {
    let mut received = Vec::with_capacity(1024);
    let answer = match read_request(&mut socket, peer, &mut received).await? {
        Ok(request) => create_response(&request),
        Err(error) => Err(error),
    };
    let response = match answer {
        Ok(response) => response,
        Err(error) => return Err(refuse(socket, peer, &error).await),
    };
    let mut head = Vec::with_capacity(256);
    write_response(&mut head, &response).map_err(TransportError::websocket(peer))?;
    socket.write_all(&head).await.map_err(TransportError::io(peer))?;
    socket.flush().await.map_err(TransportError::io(peer))?;
    let socket = Metered::client(socket, &received);
    Ok(WebSocketStream::from_partially_read(socket, received, Role::Server, Some(config)).await)
}

/// Asks the server for a WebSocket.
pub(crate) async fn request(
    socket: Socket,
    peer: &Peer,
    url: &str,
    config: WebSocketConfig,
) -> Result<WebSocketStream<Metered>, TransportError> {
    match client_async_with_config(url, Metered::trusted(socket), Some(config)).await {
        Ok((stream, _)) => Ok(stream),
        Err(Error::Http(response)) => {
            Err(TransportError::Refused { peer: peer.clone(), status: response.status().as_u16() })
        }
        Err(Error::Io(source)) => Err(TransportError::Io { peer: peer.clone(), source }),
        Err(error) => Err(TransportError::NoWebSocket { peer: peer.clone(), source: Box::new(error) }),
    }
}

/// Reads a request; `received` is left with what came after it. The inner error is the client's fault.
async fn read_request(
    socket: &mut Socket,
    peer: &Peer,
    received: &mut Vec<u8>,
) -> Result<Result<Request, Error>, TransportError> {
    loop {
        match Request::try_parse(received) {
            Ok(Some((size, request))) => {
                received.drain(..size);
                return Ok(Ok(request));
            }
            Ok(None) if received.len() < MAX_HEAD => {}
            Ok(None) => return Ok(Err(CapacityError::TooManyHeaders.into())),
            Err(error) => return Ok(Err(error)),
        }
        let room = MAX_HEAD - received.len();
        let count = (&mut *socket).take(room as u64).read_buf(received).await;
        if count.map_err(TransportError::io(peer))? == 0 {
            return Err(no_upgrade(peer, "it closed the connection"));
        }
    }
}

/// Tells the client in terms of HTTP what is wrong.
async fn refuse(mut socket: Socket, peer: &Peer, error: &Error) -> TransportError {
    use http::StatusCode as Status;
    let (status, header) = match error {
        Error::Protocol(ProtocolError::WrongHttpMethod) => (Status::METHOD_NOT_ALLOWED, "Allow: GET\r\n"),
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => (Status::UPGRADE_REQUIRED, "Upgrade: websocket\r\n"),
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            (Status::UPGRADE_REQUIRED, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n")
        }
        Error::Capacity(_) => (Status::REQUEST_HEADER_FIELDS_TOO_LARGE, ""),
        _ => (Status::BAD_REQUEST, ""),
    };
    let body = "This is a hash equivalence server. It speaks WebSocket only.\n";
    let answer = format!(
        "HTTP/1.1 {status}\r\n{header}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    // The client is gone if it cannot be told.
    if socket.write_all(answer.as_bytes()).await.is_ok() {
        hang_up(&mut socket).await;
    }
    no_upgrade(peer, &error.to_string())
}

fn no_upgrade(peer: &Peer, reason: &str) -> TransportError {
    TransportError::NoUpgrade { peer: peer.clone(), reason: reason.to_owned() }
}
