//! How a connection is opened.

/// The name that a client gives for the protocol.
const PROTOCOL: &str = "OEHASHEQUIV";

/// How many bytes all lines of a handshake may have together.
const MAX_BYTES: usize = 16 * 1024;

/// The header that names the servers on the way.
const VIA: &str = "hashserv-via";

/// Servers on the way that are read from a handshake; further ones are ignored.
pub const MAX_VIA: usize = 65;

/// What a client says of itself when it opens a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// Whether the client waits for the server's headers, which are none, and an empty line.
    pub needs_headers: bool,
    /// The servers on whose behalf a server asks its upstream, itself first, by a random number that each has.
    /// A server that finds its own number here asks in a circle. Empty for other clients. BitBake's server
    /// ignores it and does not send it.
    pub via: Vec<u64>,
}

impl Hello {
    /// The lines that a client sends, without waiting for anything.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut via = String::new();
        if !self.via.is_empty() {
            let servers: Vec<String> = self.via.iter().map(|server| format!("{server:016x}")).collect();
            via = format!("{VIA}: {}\n", servers.join(" "));
        }
        format!("{PROTOCOL} 1.1\nneeds-headers: {}\n{via}\n", self.needs_headers)
    }
}

/// How far a handshake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Further lines belong to it.
    More,
    /// It is complete; what follows are requests.
    Done(Hello),
}

/// Why a handshake is refused. The connection is then closed without a word, as BitBake's server does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The first line is not `OEHASHEQUIV VERSION`.
    #[error("the client speaks another protocol, or none")]
    Protocol,
    /// The version is not one that is spoken here.
    #[error("the client speaks version {0:?} of the protocol, which is not supported")]
    Version(String),
    /// A header line has no colon.
    #[error("a header line has no colon")]
    Header,
    /// The headers do not end.
    #[error("the headers are longer than {MAX_BYTES} bytes")]
    TooLong,
}

/// Reads a client's handshake line by line.
#[derive(Debug, Default)]
pub struct HandshakeReader {
    greeted: bool,
    hello: Hello,
    bytes: usize,
}

impl HandshakeReader {
    /// Takes the next line, without its end.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`] as soon as the handshake cannot be accepted any more.
    pub fn line(&mut self, line: &str) -> Result<Progress, HandshakeError> {
        self.bytes += line.len() + 1;
        if self.bytes > MAX_BYTES {
            return Err(HandshakeError::TooLong);
        }
        if !self.greeted {
            check_protocol(line)?;
            self.greeted = true;
            return Ok(Progress::More);
        }
        if line.is_empty() {
            return Ok(Progress::Done(self.hello.clone()));
        }
        let (name, value) = line.split_once(':').ok_or(HandshakeError::Header)?;
        if name.trim().eq_ignore_ascii_case("needs-headers") {
            self.hello.needs_headers = value.trim() == "true";
        } else if name.trim().eq_ignore_ascii_case(VIA) {
            self.hello.via = value.split_ascii_whitespace().filter_map(server).take(MAX_VIA).collect();
        }
        Ok(Progress::More)
    }
}

/// A server's number; `None` for anything else, which is no reason to refuse a client.
fn server(text: &str) -> Option<u64> {
    let is_number = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { u64::from_str_radix(text, 16).ok() } else { None }
}

fn check_protocol(line: &str) -> Result<(), HandshakeError> {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(PROTOCOL), Some(version), None) if is_spoken(version) => Ok(()),
        (Some(PROTOCOL), Some(version), None) => Err(HandshakeError::Version(version.to_owned())),
        _ => Err(HandshakeError::Protocol),
    }
}

/// Whether the version is greater than 1.0 and at most 1.1.
fn is_spoken(version: &str) -> bool {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers.is_some_and(|numbers| numbers.as_slice() > &[1, 0] && numbers.as_slice() <= &[1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Progress, HandshakeError> {
        let mut reader = HandshakeReader::default();
        let mut progress = Progress::More;
        for line in lines {
            progress = reader.line(line)?;
        }
        Ok(progress)
    }

    #[test]
    fn what_a_client_writes_a_server_reads() {
        let via = vec![1, u64::MAX];
        for hello in [
            Hello { needs_headers: true, via: Vec::new() },
            Hello::default(),
            Hello { needs_headers: false, via },
        ] {
            let text = hello.encode();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(read(&lines), Ok(Progress::Done(hello)));
        }
    }

    #[test]
    fn headers_are_optional_and_of_repeated_ones_the_last_counts() {
        assert_eq!(read(&["OEHASHEQUIV 1.1", ""]), Ok(Progress::Done(Hello::default())));
        for (value, needs_headers) in [("true", true), ("TRUE", false), ("yes", false), ("  true  ", true)] {
            let header = format!("Needs-Headers:{value}");
            let done = Ok(Progress::Done(Hello { needs_headers, ..Hello::default() }));
            assert_eq!(read(&["OEHASHEQUIV 1.1", "x: y:z", "needs-headers: true", &header, ""]), done);
        }
    }

    #[test]
    fn other_protocols_and_versions_are_refused() {
        for line in ["", "OEHASHEQUIV", "PRSERVICE 1.1", "oehashequiv 1.1", "OEHASHEQUIV 1.1 1.1", "{}"] {
            assert_eq!(read(&[line]), Err(HandshakeError::Protocol), "{line}");
        }
        for version in ["1.0", "1.2", "1", "2.0", "0.9", "1.x", "x", "1.1.1", "99999999999.1"] {
            let line = format!("OEHASHEQUIV {version}");
            assert_eq!(read(&[&line]), Err(HandshakeError::Version(version.to_owned())), "{line}");
        }
    }

    #[test]
    fn servers_on_the_way_are_bounded_and_bad_ones_ignored() {
        let servers: Vec<String> = (0..1000).map(|server| format!("{server:016x}")).collect();
        let header = format!("Hashserv-Via: x +00000000000000f 1 é {} ", servers[..500].join("  "));
        let Ok(Progress::Done(hello)) = read(&["OEHASHEQUIV 1.1", &header, ""]) else {
            panic!("it is accepted");
        };
        assert_eq!(hello.via, (0..MAX_VIA as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_header_without_a_colon_is_refused() {
        assert_eq!(read(&["OEHASHEQUIV 1.1", "needs-headers"]), Err(HandshakeError::Header));
    }

    #[test]
    fn headers_that_do_not_end_are_refused() {
        let mut reader = HandshakeReader::default();
        reader.line("OEHASHEQUIV 1.1").unwrap();
        let refused = (0..MAX_BYTES).find_map(|_| reader.line("name: value").err());
        assert_eq!(refused, Some(HandshakeError::TooLong));
    }
}
