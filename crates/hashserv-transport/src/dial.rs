//! Connecting to a server.

use std::path::PathBuf;
use std::time::Duration;

use hashserv_protocol::{Address, Host};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::proxy;
use crate::socket::Socket;
use crate::tls::ClientTls;
use crate::{Connection, Limits, Peer, Proxies, ProxyError, TransportError, tcp, unix, upgrade, websocket};

/// The ports that are dialled where the address has none.
const WS_PORT: u16 = 80;
const WSS_PORT: u16 = 443;

/// How a [`Dialer`] connects.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// A PEM file with the authorities that alone are trusted for `wss://`, or with the very certificate of a
    /// server that signed its own. Without it, those that the system trusts (or `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name).
    pub tls_ca: Option<PathBuf>,
    /// How long one dial may take in all, from the look-up of the name to the end of the last handshake.
    /// 30 s by default.
    pub connect_timeout: Duration,
    /// What the connections take at most.
    pub limits: Limits,
    /// Proxies to go through. None by default.
    pub proxies: Proxies,
}

impl Default for DialOptions {
    fn default() -> Self {
        DialOptions {
            tls_ca: None,
            connect_timeout: Duration::from_secs(30),
            limits: Limits::default(),
            proxies: Proxies::default(),
        }
    }
}

/// Connects to servers. Make one and keep it: it remembers TLS sessions, which makes the next handshake cheap.
#[derive(Debug)]
pub struct Dialer {
    options: DialOptions,
    tls: ClientTls,
}

impl Dialer {
    /// A dialer. The trusted certificates are read when the first `wss://` address is dialled.
    #[must_use]
    pub fn new(options: DialOptions) -> Self {
        let tls = ClientTls::new(options.tls_ca.clone());
        Dialer { options, tls }
    }

    /// Connects to `address`. Where its host is empty, to this machine.
    ///
    /// Of several addresses that a name has, an unreachable one costs a quarter of a second and no more.
    /// Cancellation safe: a connection that is not finished is dropped.
    ///
    /// # Errors
    ///
    /// [`TransportError::Connect`] or [`TransportError::ConnectTimeout`] if there is no server to be reached,
    /// [`TransportError::Proxy`] if the proxy gives no connection to it;
    /// [`TransportError::Tls`], [`TransportError::Refused`] or [`TransportError::WebSocket`] if it is not the
    /// server that was meant; [`TransportError::Certificate`] if `tls_ca` cannot be read.
    pub async fn dial(&self, address: &Address) -> Result<Connection, TransportError> {
        let limit = self.options.connect_timeout;
        timeout(limit, self.connect(address)).await.unwrap_or_else(|_| Err(self.timed_out(address)))
    }

    fn timed_out(&self, address: &Address) -> TransportError {
        let limit = self.options.connect_timeout;
        if let Address::WebSocket { tls, host, .. } = address
            && let Ok(Some(proxy)) = self.options.proxies.find(*tls, name(host), port(*tls, host))
        {
            return proxy_failed(address, &proxy.name(), ProxyError::Timeout(limit));
        }
        TransportError::ConnectTimeout { address: address.clone(), limit }
    }

    async fn connect(&self, address: &Address) -> Result<Connection, TransportError> {
        let limits = &self.options.limits;
        let peer = Peer::dialled(address);
        match address {
            Address::Unix(path) => {
                let stream = unix::connect(path).await.map_err(TransportError::connect(address))?;
                Ok(Connection::unix(stream, peer, limits))
            }
            Address::Tcp(host) => {
                let stream = connect_tcp(address, host, host.port.unwrap_or(0)).await?;
                Ok(Connection::tcp(stream, peer, limits))
            }
            Address::WebSocket { tls, host, path } => {
                // Boxed so that the connections without these handshakes stay small.
                let socket = Box::pin(self.open(address, *tls, host, &peer)).await?;
                let url = url(host, path);
                let stream =
                    Box::pin(upgrade::request(socket, &peer, &url, websocket::config(limits))).await?;
                Ok(Connection::websocket(stream, peer, limits))
            }
        }
    }

    async fn open(
        &self,
        address: &Address,
        tls: bool,
        host: &Host,
        peer: &Peer,
    ) -> Result<Socket, TransportError> {
        let stream = self.connect_host(address, tls, host).await?;
        if !tls {
            return Ok(Socket::Plain(stream));
        }
        let stream = self.tls.connect(stream, name(host), peer).await?;
        Ok(Socket::Tls(Box::new(stream.into())))
    }

    /// Connects to the host, through a proxy where there is one for it.
    async fn connect_host(
        &self,
        address: &Address,
        tls: bool,
        host: &Host,
    ) -> Result<TcpStream, TransportError> {
        let port = port(tls, host);
        let proxy = self.options.proxies.find(tls, name(host), port);
        match proxy.map_err(|(place, error)| proxy_failed(address, &place, error))? {
            None => connect_tcp(address, host, port).await,
            Some(proxy) => {
                let opened = proxy::open(&proxy, name(host), port).await;
                opened.map_err(|error| proxy_failed(address, &proxy.name(), error))
            }
        }
    }
}

fn proxy_failed(address: &Address, proxy: &str, source: ProxyError) -> TransportError {
    TransportError::Proxy { address: address.clone(), proxy: proxy.to_owned(), source }
}

fn port(tls: bool, host: &Host) -> u16 {
    host.port.unwrap_or(if tls { WSS_PORT } else { WS_PORT })
}

async fn connect_tcp(address: &Address, host: &Host, port: u16) -> Result<TcpStream, TransportError> {
    tcp::connect(name(host), port).await.map_err(TransportError::connect(address))
}

/// An address that stands for all of a server's is on this machine.
fn name(host: &Host) -> &str {
    if host.name.is_empty() { "localhost" } else { &host.name }
}

/// What the HTTP library takes path and Host header from; it does not care for TLS.
fn url(host: &Host, path: &str) -> String {
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("ws://{}{slash}{path}", Host::new(name(host), host.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_host_and_path_as_they_were_given() {
        for (host, path, expected) in [
            (Host::new("example.com", None), "", "ws://example.com/"),
            (Host::new("example.com", Some(8080)), "/ws", "ws://example.com:8080/ws"),
            (Host::new("::1", Some(80)), "?token=1", "ws://[::1]:80/?token=1"),
            (Host::new("", Some(80)), "/", "ws://localhost:80/"),
        ] {
            assert_eq!(url(&host, path), expected);
        }
    }
}
