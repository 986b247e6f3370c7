//! A connection through a proxy.

use std::io;
use std::time::Duration;

use hashserv_protocol::Host;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::tcp;

/// Longest head of a proxy's answer, in bytes.
const MAX_ANSWER: usize = 16 * 1024;

/// Largest number of headers in a proxy's answer.
const MAX_HEADERS: usize = 100;

/// A proxy to connect through.
pub(crate) struct Proxy {
    pub(crate) host: Host,
    /// Variable that names the proxy.
    pub(crate) variable: String,
    /// Value of the header that identifies us.
    pub(crate) authorization: Option<String>,
}

impl Proxy {
    /// Returns the host and port, and the variable that they come from.
    pub(crate) fn name(&self) -> String {
        format!("{} (from {})", self.host, self.variable)
    }
}

/// Reason why a proxy gives no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// The URL of the proxy makes no sense, or asks for more than is supported.
    #[error("{0}")]
    Unusable(&'static str),
    /// The proxy cannot be reached, or the connection to it broke.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The proxy refuses. The status is that of HTTP.
    #[error("it answered with HTTP status {0}{hint}", hint = hint(*.0))]
    Refused(u16),
    /// The answer is none that an HTTP proxy gives.
    #[error("its answer is none of an HTTP proxy: {0}")]
    Senseless(&'static str),
    /// The way through the proxy to the server took too long.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
}

fn hint(status: u16) -> &'static str {
    match status {
        407 => "; it wants http://NAME:PASSWORD@HOST:PORT in the variable, with the right password",
        502..=504 => "; it does not reach the server",
        _ => "; list the server in no_proxy to reach it directly",
    }
}

/// Connects to a host through the proxy; the caller bounds the time.
pub(crate) async fn open(proxy: &Proxy, host: &str, port: u16) -> Result<TcpStream, ProxyError> {
    let mut stream = tcp::connect(&proxy.host.name, proxy.host.port.unwrap_or(0)).await?;
    stream.write_all(request(proxy, host, port).as_bytes()).await?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if let Some(status) = read_status(&answer)? {
            return if (200..300).contains(&status) { Ok(stream) } else { Err(ProxyError::Refused(status)) };
        }
        let room = MAX_ANSWER - answer.len();
        if room == 0 {
            return Err(ProxyError::Senseless("it is too long"));
        }
        if (&mut stream).take(room as u64).read_buf(&mut answer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection").into());
        }
    }
}

fn request(proxy: &Proxy, host: &str, port: u16) -> String {
    let host = Host::new(host, Some(port));
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
    if let Some(authorization) = &proxy.authorization {
        request.push_str("Proxy-Authorization: ");
        request.push_str(authorization);
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// The status of an answer whose head is complete.
fn read_status(answer: &[u8]) -> Result<Option<u16>, ProxyError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(answer) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let status = response.code.unwrap_or(0);
            // Neither TLS nor HTTP lets a server speak first.
            if length < answer.len() && (200..300).contains(&status) {
                return Err(ProxyError::Senseless("there is more than the head of an answer"));
            }
            Ok(Some(status))
        }
        Err(_) => Err(ProxyError::Senseless("it is no HTTP")),
    }
}
