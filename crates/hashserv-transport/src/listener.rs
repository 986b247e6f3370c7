//! Listening for connections.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hashserv_protocol::{Address, Host};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::{Instant, sleep_until};

use crate::socket::Socket;
use crate::unix::SocketFile;
use crate::{Connection, Limits, Peer, ServerTls, TransportError, tcp, unix, upgrade, websocket};

/// How long to wait when the system has no resources for another connection.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How often at most it is logged that connections cannot be accepted.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

/// How a [`Listener`] listens.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// Whether several processes may share the port (SO_REUSEPORT); of no meaning for unix sockets.
    pub reuseport: bool,
    /// The certificate for `wss://` addresses, which cannot do without.
    pub tls: Option<Arc<ServerTls>>,
    /// What the connections take at most.
    pub limits: Limits,
}

/// Accepts connections on one address, which may stand for several sockets.
///
/// Dropping it closes the sockets and removes the socket file, if that is still the one it made.
#[derive(Debug)]
pub struct Listener {
    sockets: Sockets,
    address: Address,
    protocol: Protocol,
    limits: Limits,
    /// Nothing is accepted before, since the system lacks the resources.
    resume_at: Option<Instant>,
    warned_at: Option<Instant>,
    /// Removed last, when nobody can connect any more.
    _file: Option<SocketFile>,
}

/// What is spoken on a TCP socket.
#[derive(Clone, Debug)]
enum Protocol {
    Lines,
    WebSocket,
    SecureWebSocket(Arc<ServerTls>),
}

#[derive(Debug)]
enum Sockets {
    Unix(UnixListener),
    Tcp {
        listeners: Vec<TcpListener>,
        /// Which one is asked first, so that a busy one does not starve the others.
        first: usize,
    },
}

impl Listener {
    /// Listens on `address`. Clients can connect from here on; they wait until they are
    /// [accepted](Listener::accept).
    ///
    /// An empty host means all addresses of both families, and a host name all that it resolves to. The
    /// directory of a unix socket must exist; a socket file that no server answers on is replaced.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`], [`TransportError::InUse`], [`TransportError::NotASocket`] or
    /// [`TransportError::NoCertificate`].
    pub async fn bind(address: &Address, options: &ListenOptions) -> Result<Listener, TransportError> {
        let protocol = protocol(address, options)?;
        let (sockets, address, file) = match address {
            Address::Unix(path) => {
                let (listener, file) = unix::bind(address, path).await?;
                (Sockets::Unix(listener), address.clone(), Some(file))
            }
            Address::Tcp(host) | Address::WebSocket { host, .. } => {
                let listeners = tcp::bind(host, host.port.unwrap_or(0), options.reuseport)
                    .await
                    .map_err(TransportError::bind(address))?;
                let local = local_host(host, &listeners).map_err(TransportError::bind(address))?;
                (Sockets::Tcp { listeners, first: 0 }, with_host(address, local), None)
            }
        };
        let limits = options.limits;
        Ok(Listener { sockets, address, protocol, limits, resume_at: None, warned_at: None, _file: file })
    }

    /// The address that is listened on, with the real port, in a form that a client on this machine can dial:
    /// all addresses are `[::]`, or `0.0.0.0` on a machine without IPv6.
    #[must_use]
    pub fn local_address(&self) -> &Address {
        &self.address
    }

    /// Waits for the next connection. It costs little: handshakes come with
    /// [`Incoming::establish`], which belongs into the connection's own task.
    ///
    /// It does not fail: when the system lacks the resources (file descriptors, say) it logs a warning, not more
    /// than one in ten seconds, and tries again after a while. Cancellation safe.
    pub async fn accept(&mut self) -> Incoming {
        loop {
            if let Some(resume_at) = self.resume_at {
                sleep_until(resume_at).await;
                self.resume_at = None;
            }
            match poll_fn(|cx| self.sockets.poll_accept(cx)).await {
                Ok((socket, peer)) => {
                    return Incoming { socket, peer, protocol: self.protocol.clone(), limits: self.limits };
                }
                Err(error) if concerns_one_connection(&error) => {
                    tracing::debug!(address = %self.address, %error, "a connection was gone before it was accepted");
                }
                Err(error) => self.back_off(&error),
            }
        }
    }

    fn back_off(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.resume_at = Some(now + BACK_OFF);
        if self.warned_at.is_none_or(|warned_at| now >= warned_at + WARNING_INTERVAL) {
            self.warned_at = Some(now);
            tracing::warn!(address = %self.address, %error, "cannot accept connections, trying again");
        }
    }
}

/// A connection that was accepted and has no handshake behind it yet.
#[derive(Debug)]
pub struct Incoming {
    socket: Accepted,
    peer: Peer,
    protocol: Protocol,
    limits: Limits,
}

#[derive(Debug)]
enum Accepted {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Incoming {
    /// Who has connected.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Makes a connection of it, with the handshakes of TLS and WebSocket where the address asks for them.
    ///
    /// There is no bound on the time: put a timeout around it. Cancellation safe: the connection is dropped.
    ///
    /// # Errors
    ///
    /// When a handshake fails; the client has been told as far as its protocol allows.
    pub async fn establish(self) -> Result<Connection, TransportError> {
        let Incoming { socket, peer, protocol, limits } = self;
        let stream = match socket {
            Accepted::Unix(stream) => return Ok(Connection::unix(stream, peer, &limits)),
            Accepted::Tcp(stream) => stream,
        };
        // The handshakes are boxed so that the connections without them stay small.
        match protocol {
            Protocol::Lines => Ok(Connection::tcp(stream, peer, &limits)),
            Protocol::WebSocket => Box::pin(upgrade(Socket::Plain(stream), peer, limits)).await,
            Protocol::SecureWebSocket(tls) => {
                let secure = async {
                    let stream = tls.accept(stream, &peer).await?;
                    upgrade(Socket::Tls(Box::new(stream.into())), peer, limits).await
                };
                Box::pin(secure).await
            }
        }
    }
}

async fn upgrade(socket: Socket, peer: Peer, limits: Limits) -> Result<Connection, TransportError> {
    let stream = upgrade::accept(socket, &peer, websocket::config(&limits)).await?;
    Ok(Connection::websocket(stream, peer, &limits))
}

impl Sockets {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Accepted, Peer)>> {
        match self {
            Sockets::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = Peer::unix(&stream);
                (Accepted::Unix(stream), peer)
            }),
            Sockets::Tcp { listeners, first } => {
                let count = listeners.len();
                for place in 0..count {
                    let at = (*first + place) % count;
                    if let Poll::Ready(outcome) = listeners[at].poll_accept(cx) {
                        *first = (at + 1) % count;
                        return Poll::Ready(
                            outcome.map(|(stream, address)| (Accepted::Tcp(stream), Peer::tcp(address))),
                        );
                    }
                }
                Poll::Pending
            }
        }
    }
}

/// Whether a connection failed before it was accepted, which says nothing of the next one. Linux hands the
/// network errors of the new socket to accept(2).
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
        PermissionDenied, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | PermissionDenied
            | TimedOut
    )
}

fn protocol(address: &Address, options: &ListenOptions) -> Result<Protocol, TransportError> {
    Ok(match (address, &options.tls) {
        (Address::Unix(_) | Address::Tcp(_), _) => Protocol::Lines,
        (Address::WebSocket { tls: false, .. }, _) => Protocol::WebSocket,
        (Address::WebSocket { tls: true, .. }, Some(tls)) => Protocol::SecureWebSocket(tls.clone()),
        (Address::WebSocket { tls: true, .. }, None) => {
            return Err(TransportError::NoCertificate { address: address.clone() });
        }
    })
}

fn local_host(host: &Host, listeners: &[TcpListener]) -> io::Result<Host> {
    let Some(first) = listeners.first() else { return Ok(host.clone()) };
    let bound = first.local_addr()?;
    let name = if host.name.is_empty() { bound.ip().to_string() } else { host.name.clone() };
    Ok(Host::new(name, Some(bound.port())))
}

fn with_host(address: &Address, host: Host) -> Address {
    match address {
        Address::WebSocket { tls, path, .. } => Address::WebSocket { tls: *tls, host, path: path.clone() },
        _ => Address::Tcp(host),
    }
}
