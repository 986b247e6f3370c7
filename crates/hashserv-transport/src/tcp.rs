//! TCP sockets: options, name resolution, both address families.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hashserv_protocol::Host;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::time::sleep;

/// Connections that may wait to be accepted; the system lowers it to `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 4096;

/// Idle time, interval and number of probes that find a dead peer; see the protocol.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(30))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// How long one address of a host is tried before the next one joins in (RFC 8305).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// How often another port is picked because the one that one address gave is taken on the next.
const PORT_TRIES: u32 = 16;

/// Listens on all addresses that `host` stands for, on one port. Addresses that this machine does not have
/// are passed over as long as there is one that it has.
pub(crate) async fn bind(host: &Host, port: u16, reuseport: bool) -> io::Result<Vec<TcpListener>> {
    let addresses = addresses_to_bind(&host.name, port).await?;
    for _ in 1..PORT_TRIES {
        match bind_all(&addresses, reuseport) {
            Err(error) if port == 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            outcome => return outcome,
        }
    }
    bind_all(&addresses, reuseport)
}

/// Connects to the host `name`, trying its addresses one after the other but waiting for none of them alone; the caller
/// bounds the time.
pub(crate) async fn connect(name: &str, port: u16) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    for (place, address) in interleave(lookup_host((name, port)).await?).into_iter().enumerate() {
        attempts.push(async move {
            // Even a sleep of no time takes a tick of the timer.
            if place > 0 {
                sleep(ATTEMPT_DELAY * u32::try_from(place).unwrap_or(u32::MAX)).await;
            }
            TcpStream::connect(address).await
        });
    }
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    while let Some(attempt) = attempts.next().await {
        match attempt {
            Ok(stream) => {
                set_options(&SockRef::from(&stream))?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn addresses_to_bind(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if name.is_empty() {
        let all: [IpAddr; 2] = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
        return Ok(all.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let mut addresses = Vec::new();
    for address in lookup_host((name, port)).await? {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}

fn bind_all(addresses: &[SocketAddr], reuseport: bool) -> io::Result<Vec<TcpListener>> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for &(mut address) in addresses {
        if let Some(first) = listeners.first() {
            address.set_port(first.local_addr()?.port());
        }
        match bind_one(address, reuseport) {
            Ok(listener) => listeners.push(listener),
            Err(error) if is_foreign(&error) => failure = error,
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() { Err(failure) } else { Ok(listeners) }
}

/// Whether the machine does not have that address, or not even its family.
fn is_foreign(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
}

fn bind_one(address: SocketAddr, reuseport: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuseport)?;
    // Accepted sockets inherit these.
    set_options(&SockRef::from(&socket))?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn set_options(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&KEEPALIVE)
}

/// Alternates between the families, beginning with that of the first address.
fn interleave(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    let Some(first) = addresses.first().map(SocketAddr::is_ipv4) else { return addresses };
    let mut counts = [0usize; 2];
    addresses.sort_by_cached_key(|address| {
        let other = usize::from(address.is_ipv4() != first);
        counts[other] += 1;
        (counts[other], other)
    });
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"];
        let sorted = interleave(addresses.iter().map(|address| address.parse().unwrap()));
        let sorted: Vec<String> = sorted.iter().map(ToString::to_string).collect();
        assert_eq!(sorted, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_options() {
        let host = Host::new("127.0.0.1", Some(0));
        let listeners = bind(&host, 0, false).await.unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        let (dialled, accepted) = tokio::join!(connect(&host.name, port), listeners[0].accept());
        for stream in [dialled.unwrap(), accepted.unwrap().0] {
            let socket = SockRef::from(&stream);
            assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(30));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        }
    }

    #[tokio::test]
    async fn a_host_without_the_address_is_an_error() {
        // TEST-NET-1, which no machine has.
        let error = bind(&Host::new("192.0.2.1", Some(0)), 0, false).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }
}
