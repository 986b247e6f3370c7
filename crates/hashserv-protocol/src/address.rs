//! Where a server listens and where a client connects to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An address of a hash equivalence server, to bind or to connect to.
///
/// | form | meaning |
/// | --- | --- |
/// | `unix://PATH` | unix domain socket |
/// | `ws://HOST[:PORT][/PATH]` | WebSocket; to connect, port 80 by default |
/// | `wss://HOST[:PORT][/PATH]` | WebSocket over TLS; to connect, port 443 by default |
/// | `HOST:PORT`, `[IPV6]:PORT` | raw TCP |
///
/// ```
/// use hashserv_protocol::{Address, Host};
///
/// let address: Address = "wss://hashserv.example.com/ws".parse().unwrap();
/// assert_eq!(
///     address,
///     Address::WebSocket { tls: true, host: Host::new("hashserv.example.com", None), path: "/ws".into() },
/// );
/// assert_eq!(address.to_string(), "wss://hashserv.example.com/ws");
/// assert!("localhost".parse::<Address>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// A unix domain socket, relative to the working directory or absolute.
    Unix(PathBuf),
    /// A raw TCP socket. The port is always given.
    Tcp(Host),
    /// A WebSocket.
    WebSocket {
        /// Whether it is spoken over TLS (`wss://`).
        tls: bool,
        /// Where it is.
        host: Host,
        /// The path and query of the request: empty, or beginning with `/` or `?`. A listener takes every path.
        path: String,
    },
}

/// A host and, where given, a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// A name or an IP address, without brackets. Empty, to bind, for all addresses of both families.
    pub name: String,
    /// The port; 0, to bind, lets the system pick one.
    pub port: Option<u16>,
}

impl Host {
    /// A host and, where given, a port.
    pub fn new(name: impl Into<String>, port: Option<u16>) -> Self {
        Host { name: name.into(), port }
    }
}

/// Why a text is not an [`Address`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error(
    "invalid address {address:?}: {reason}; use unix://PATH, ws://HOST[:PORT][/PATH], wss://HOST[:PORT][/PATH] or HOST:PORT"
)]
pub struct AddressError {
    address: String,
    reason: &'static str,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).map_err(|reason| AddressError { address: without_credentials(text), reason })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix://{}", path.display()),
            Address::Tcp(host) => host.fmt(f),
            Address::WebSocket { tls, host, path } => {
                write!(f, "{}://{host}{path}", if *tls { "wss" } else { "ws" })
            }
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]", self.name)?;
        } else {
            f.write_str(&self.name)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Returns the text of an address with what stands before its last `@` masked, for messages: there may be a password.
#[must_use]
pub fn without_credentials(text: &str) -> String {
    let host = text.find("://").map_or(0, |end| end + "://".len());
    // A password may have slashes in it, which whoever wrote it forgot to encode.
    match text.rfind('@') {
        Some(at) if at >= host => format!("{}***{}", &text[..host], &text[at..]),
        _ => text.to_owned(),
    }
}

fn parse(text: &str) -> Result<Address, &'static str> {
    if text.contains('\0') {
        return Err("it contains a NUL character");
    }
    if let Some(path) = text.strip_prefix("unix://") {
        if path.is_empty() {
            return Err("the path is missing");
        }
        return Ok(Address::Unix(path.into()));
    }
    if let Some(rest) = text.strip_prefix("ws://") {
        return parse_websocket(rest, false);
    }
    if let Some(rest) = text.strip_prefix("wss://") {
        return parse_websocket(rest, true);
    }
    if text.contains("://") {
        return Err("the scheme is unknown");
    }
    let host = parse_host(text)?;
    if host.port.is_none() {
        return Err("the port is missing");
    }
    Ok(Address::Tcp(host))
}

fn parse_websocket(rest: &str, tls: bool) -> Result<Address, &'static str> {
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host.contains('@') {
        return Err("a user name does not belong here, log in instead");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the path must be plain ASCII without blanks");
    }
    Ok(Address::WebSocket { tls, host: parse_host(host)?, path: path.to_owned() })
}

fn parse_host(text: &str) -> Result<Host, &'static str> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, after) = rest.split_once(']').ok_or("the bracket is not closed")?;
            if name.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("between the brackets there is no IPv6 address");
            }
            (name, after)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("the host has blanks");
    }
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| "the port is not a number from 0 to 65535")?)
        }
        Some(_) => return Err("the port is not a number from 0 to 65535 (an IPv6 address goes in brackets)"),
        None if port.is_empty() => None,
        None => return Err("after the bracket only a port may follow"),
    };
    Ok(Host::new(name, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_form_is_parsed_and_printed_alike() {
        let websocket = |tls, name: &str, port, path: &str| Address::WebSocket {
            tls,
            host: Host::new(name, port),
            path: path.to_owned(),
        };
        for (text, address) in [
            ("unix://./hashserver.sock", Address::Unix("./hashserver.sock".into())),
            ("unix:///run/h s.sock", Address::Unix("/run/h s.sock".into())),
            ("localhost:8686", Address::Tcp(Host::new("localhost", Some(8686)))),
            (":0", Address::Tcp(Host::new("", Some(0)))),
            ("[::1]:8686", Address::Tcp(Host::new("::1", Some(8686)))),
            ("ws://example.com", websocket(false, "example.com", None, "")),
            ("ws://:8080/ws", websocket(false, "", Some(8080), "/ws")),
            ("wss://[::]:0", websocket(true, "::", Some(0), "")),
            ("wss://example.com/ws?x=y", websocket(true, "example.com", None, "/ws?x=y")),
        ] {
            assert_eq!(text.parse::<Address>().as_ref(), Ok(&address), "{text}");
            assert_eq!(address.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "the port is missing"),
            ("localhost", "the port is missing"),
            ("unix://", "the path is missing"),
            ("http://example.com", "the scheme is unknown"),
            ("::1:8686", "the port is not a number"),
            ("localhost:65536", "the port is not a number"),
            ("localhost:+1", "the port is not a number"),
            ("localhost:", "the port is not a number"),
            ("[::1", "the bracket is not closed"),
            ("[localhost]:1", "no IPv6 address"),
            ("[::1]x", "only a port may follow"),
            ("ws://host/a b", "without blanks"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(reason) && error.contains(&format!("{text:?}")), "{text}: {error}");
        }
    }

    #[test]
    fn no_password_is_in_an_error() {
        for (text, shown) in [
            ("wss://user:secret@h:1", "wss://***@h:1"),
            ("ws://secret@host", "ws://***@host"),
            ("http://user:sec/ret@h", "http://***@h"),
            ("user:secret@h:1", "***@h:1"),
            ("ws://user:sec@ret@h", "ws://***@h"),
        ] {
            let error = text.parse::<Address>().unwrap_err();
            let told = error.to_string();
            assert!(told.contains(&format!("{shown:?}")) && !told.contains("sec"), "{told}");
            assert!(!format!("{error:?}").contains("sec"), "{error:?}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_is_its_inverse(text in "(unix://|ws://|wss://)?[\\[\\]a-f0-9:./?@ ]*") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
