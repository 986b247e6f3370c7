//! Who is at the other end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashserv_protocol::Address;
use tokio::net::UnixStream;

/// Who is at the other end of a connection, for logs and error messages; cheap to clone.
///
/// It prints as the address that was dialled, or as `10.0.0.7:41234` or `unix (pid 4711 uid 1000)` on the
/// server's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dialled(Arc<Address>),
    Tcp(SocketAddr),
    Unix { pid: Option<i32>, uid: Option<u32> },
    Memory,
}

impl Peer {
    pub(crate) fn dialled(address: &Address) -> Self {
        Peer(Kind::Dialled(Arc::new(address.clone())))
    }

    pub(crate) fn tcp(address: SocketAddr) -> Self {
        Peer(Kind::Tcp(address))
    }

    pub(crate) fn unix(stream: &UnixStream) -> Self {
        let credentials = stream.peer_cred().ok();
        Peer(Kind::Unix {
            pid: credentials.as_ref().and_then(tokio::net::unix::UCred::pid),
            uid: credentials.as_ref().map(tokio::net::unix::UCred::uid),
        })
    }

    /// The IP address of a client that has connected by TCP.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self.0 {
            Kind::Tcp(address) => Some(address.ip()),
            Kind::Dialled(_) | Kind::Unix { .. } | Kind::Memory => None,
        }
    }

    pub(crate) fn memory() -> Self {
        Peer(Kind::Memory)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Dialled(address) => address.fmt(f),
            Kind::Tcp(address) => address.fmt(f),
            Kind::Unix { pid: Some(pid), uid: Some(uid) } => write!(f, "unix (pid {pid} uid {uid})"),
            Kind::Unix { uid: Some(uid), .. } => write!(f, "unix (uid {uid})"),
            Kind::Unix { .. } => f.write_str("unix"),
            Kind::Memory => f.write_str("memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_print_as_one_would_name_them() {
        let unix = |pid, uid| Peer(Kind::Unix { pid, uid }).to_string();
        assert_eq!(unix(Some(4711), Some(0)), "unix (pid 4711 uid 0)");
        assert_eq!(unix(None, Some(0)), "unix (uid 0)");
        assert_eq!(unix(None, None), "unix");
        assert_eq!(Peer::tcp("[::1]:80".parse().unwrap()).to_string(), "[::1]:80");
        assert_eq!(Peer::dialled(&"ws://a/b".parse().unwrap()).to_string(), "ws://a/b");
    }
}
