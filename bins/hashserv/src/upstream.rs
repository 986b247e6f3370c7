//! The upstream, worked out from the command line and the environment.

use std::path::PathBuf;
use std::sync::Arc;

use hashserv_protocol::{Address, Host};
use hashserv_service::Upstream;
use hashserv_transport::{DialOptions, Dialer, Limits, Proxies, check_authorities};
use hashserv_upstream::{ClientUpstream, UpstreamOptions};

use crate::arguments::Arguments;
use crate::error::StartError;
use crate::logins::{check_token, check_user, read_token};

/// The server that is asked what is not known here.
#[derive(Debug)]
pub(crate) struct UpstreamConfig {
    address: Address,
    options: UpstreamOptions,
    ca: Option<PathBuf>,
}

impl UpstreamConfig {
    /// Works out what the arguments mean.
    pub(crate) fn resolve(arguments: &Arguments) -> Result<Option<Self>, StartError> {
        let Some(address) = arguments.upstream.clone() else { return Ok(None) };
        if arguments.read_only {
            return Err(StartError::ReadOnlyUpstream);
        }
        check_address(&address)?;
        if arguments.bind.iter().any(|own| is_same(own, &address)) {
            return Err(StartError::OwnUpstream(address));
        }
        let timeout = arguments.upstream_timeout;
        let options =
            UpstreamOptions { timeout, login: login(arguments)?, max_message: arguments.max_message };
        let ca = arguments.upstream_ca.clone();
        ca.as_deref().map_or(Ok(()), check_authorities).map_err(StartError::UpstreamCa)?;
        Ok(Some(UpstreamConfig { address, options, ca }))
    }

    /// The upstream itself. It is tried in the background, so that trouble with it shows at the start.
    pub(crate) fn start(&self) -> Arc<dyn Upstream> {
        let dialer = Dialer::new(DialOptions {
            tls_ca: self.ca.clone(),
            connect_timeout: self.options.timeout,
            limits: Limits { max_message: self.options.max_message, ..Limits::default() },
            proxies: Proxies::from_environment(),
        });
        let upstream = ClientUpstream::new(dialer, self.address.clone(), self.options.clone());
        upstream.try_out();
        Arc::new(upstream)
    }
}

/// Returns user and token. The command line has both or none, and one token.
fn login(arguments: &Arguments) -> Result<Option<(String, String)>, StartError> {
    if let Some(name) = &arguments.upstream_user {
        check_user("--upstream-user", name)?;
    }
    if let Some(token) = &arguments.upstream_token {
        check_token("--upstream-token", token)?;
    }
    let token = match (&arguments.upstream_token, &arguments.upstream_token_file) {
        (Some(token), _) => Some(token.clone()),
        (None, Some(path)) => Some(read_token(path)?),
        (None, None) => None,
    };
    Ok(arguments.upstream_user.clone().zip(token))
}

/// Makes sure that there can be a server at the address.
fn check_address(address: &Address) -> Result<(), StartError> {
    let (Address::Tcp(host) | Address::WebSocket { host, .. }) = address else { return Ok(()) };
    let problem = match host {
        Host { name, .. } if name.is_empty() => "names no host",
        Host { port: Some(0), .. } => "has the port 0, at which no server can be reached",
        _ => return Ok(()),
    };
    Err(StartError::Upstream { address: address.clone(), problem })
}

/// Returns whether a client that asks at `upstream` reaches the listener at `own`, as far as the addresses tell.
fn is_same(own: &Address, upstream: &Address) -> bool {
    match (own, upstream) {
        (
            Address::WebSocket { tls, host, .. },
            Address::WebSocket { tls: upstream_tls, host: upstream, .. },
        ) => {
            let port = if *upstream_tls { 443 } else { 80 };
            // A listener takes every path.
            tls == upstream_tls
                && is_same_host(host, &Host::new(&*upstream.name, upstream.port.or(Some(port))))
        }
        (Address::Tcp(host), Address::Tcp(upstream)) => is_same_host(host, upstream),
        (own, upstream) => own == upstream,
    }
}

fn is_same_host(own: &Host, upstream: &Host) -> bool {
    let local = ["", "localhost", "127.0.0.1", "::1"];
    let everywhere = ["", "0.0.0.0", "::"];
    own.port == upstream.port
        && (own.name == upstream.name
            || everywhere.contains(&own.name.as_str()) && local.contains(&upstream.name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use hashserv_log::one_line;

    fn resolve(arguments: &[&str]) -> Result<Option<UpstreamConfig>, String> {
        let arguments = Arguments::of(arguments).map_err(|error| error.to_string())?;
        UpstreamConfig::resolve(&arguments).map_err(|error| one_line(&error))
    }

    #[test]
    fn an_upstream_is_optional() {
        assert!(resolve(&[]).unwrap().is_none());
        let config = resolve(&["-u", "wss://example.com/ws", "--upstream-timeout", "1.5"]).unwrap().unwrap();
        assert_eq!(config.address.to_string(), "wss://example.com/ws");
        assert_eq!(config.options.timeout, Duration::from_millis(1500));
    }

    #[test]
    fn what_cannot_be_is_told() {
        let up = "example.com:1";
        for (arguments, error) in [
            (&["-u", up, "--read-only"][..], "Read-only hashserv cannot pull from an upstream server"),
            (
                &["-u", up, "--upstream-user", "me", "--upstream-token-file", "/nonexistent/x"],
                "cannot read the token of the upstream",
            ),
            (&["-u", up, "--upstream-ca", "/nonexistent/x"], "--upstream-ca: /nonexistent/x: "),
        ] {
            let message = resolve(arguments).unwrap_err();
            assert!(message.starts_with(error), "{message}");
        }
    }

    #[test]
    fn an_authority_that_is_no_certificate_is_found_before_the_upstream_is_asked() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let path = file.path().to_str().unwrap();
        let message = resolve(&["-u", "wss://example.com", "--upstream-ca", path]).unwrap_err();
        assert!(message.starts_with(&format!("--upstream-ca: {path}: ")), "{message}");
    }

    #[test]
    fn a_token_may_come_from_a_file_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "secret\n").unwrap();
        let file = file.to_str().unwrap();
        let from_file = ["-u", "h:1", "--upstream-user", "me", "--upstream-token-file", file];
        let given = ["-u", "h:1", "--upstream-user", "me", "--upstream-token", "secret"];
        for arguments in [from_file, given] {
            let config = resolve(&arguments).unwrap().unwrap();
            assert!(!format!("{config:?}").contains("secret"));
            assert_eq!(config.options.login, Some(("me".to_owned(), "secret".to_owned())));
        }
        let both = [&given[..], &["--upstream-token-file", file]].concat();
        assert!(resolve(&both).unwrap_err().contains("cannot be used with"));
        std::fs::write(file, "\n").unwrap();
        assert!(resolve(&from_file).unwrap_err().contains("is empty"));
    }

    #[test]
    fn file_with_anything_but_one_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let file = path.to_str().unwrap();
        let arguments = ["-u", "h:1", "--upstream-user", "me", "--upstream-token-file", file];
        let long = "x".repeat(4097);
        for (contents, problem) in [
            (b"secret\nsecond\n".as_slice(), "has several lines"),
            (long.as_bytes(), "more than 4,096 bytes"),
            (&b"x\n".repeat(100_000), "more than 4,096 bytes"),
            (b"\xFF\xFE", "is not UTF-8"),
        ] {
            std::fs::write(&path, contents).unwrap();
            let message = resolve(&arguments).unwrap_err();
            assert!(message.contains(problem) && !message.contains("secret"), "{message}");
        }
        std::fs::write(&path, format!("{}\r\n", &long[1..])).unwrap();
        assert!(resolve(&arguments).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(resolve(&arguments).unwrap_err().contains("it is no regular file"));
    }

    #[test]
    fn address_where_no_server_can_be_is_refused() {
        for address in [":1", "ws://", "wss://:443/x", "h:0", "ws://h:0"] {
            let message = resolve(&["-u", address]).unwrap_err();
            assert!(message.starts_with(&format!("--upstream: {address} ")), "{message}");
        }
        assert!(resolve(&["-u", "ws://h"]).is_ok(), "WebSockets have a default port");
    }

    #[test]
    fn a_server_is_not_its_own_upstream() {
        for (own, upstream, same) in [
            ("unix://./a.sock", "unix://./a.sock", true),
            ("unix://./a.sock", "unix://./b.sock", false),
            ("localhost:8686", "localhost:8686", true),
            (":8686", "localhost:8686", true),
            (":8686", "example.com:8686", false),
            (":8686", "localhost:8687", false),
            ("ws://:80", "ws://localhost/ws", true),
            ("ws://:443", "wss://localhost", false),
        ] {
            let result = resolve(&["--bind", own, "-u", upstream]);
            assert_eq!(result.is_err(), same, "{own} {upstream}");
        }
    }
}
