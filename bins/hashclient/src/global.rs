//! Options of every command.

use std::convert::Infallible;
use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use hashserv_client::{Address, AddressError, Host, Secret};
use tracing::level_filters::LevelFilter;

use crate::duration;

/// Where a server listens unless it is told otherwise.
const DEFAULT_ADDRESS: &str = "unix://./hashserver.sock";

/// Time for further attempts where none is given.
const DEFAULT_RETRY_WINDOW: &str = "5";

/// Longest time for further attempts.
const MAX_RETRY_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Options of every command.
#[derive(Args, Debug)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Global {
    /// Address of the server
    #[arg(long, global = true, env = "HASHSERVER_ADDRESS", default_value = DEFAULT_ADDRESS)]
    pub(crate) address: ServerAddress,

    /// Level from which on messages are logged to standard error
    #[arg(long, global = true, value_name = "LEVEL", default_value = "WARNING", ignore_case = true)]
    pub(crate) log: LogLevel,

    /// User to log in as; needs a token
    #[arg(short, long, global = true, value_name = "USER", env = "HASHSERVER_LOGIN")]
    pub(crate) login: Option<String>,

    /// Token to log in with; on the command line other users of the machine can see it [env: HASHSERVER_TOKEN]
    // The environment is read by hand: there a token without a login is no mistake.
    #[arg(short, long, global = true, value_name = "TOKEN", value_parser = secret)]
    pub(crate) password: Option<Secret>,

    /// User to act as, which only a user administrator may
    #[arg(short, long = "become", global = true, value_name = "USER")]
    pub(crate) become_user: Option<String>,

    /// Do not look for a login in $NETRC or ~/.netrc
    // Not global: `ping` has an option -n of its own.
    #[arg(short, long)]
    pub(crate) no_netrc: bool,

    /// Certificates (PEM) of authorities to trust for wss:// instead of those of the system
    #[arg(long, global = true, value_name = "FILE", env = "HASHSERVER_TLS_CA")]
    pub(crate) tls_ca: Option<OsString>,

    /// How long to try again where the server cannot be reached or closes the connection: 5, 5s or 2m; a day at
    /// most. Counted from the first failure; no attempt begins later, but the last may take as long as the server
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        env = "HASHSERVER_RETRY_FOR",
        default_value = DEFAULT_RETRY_WINDOW,
        value_parser = retry_window
    )]
    pub(crate) retry_for: Duration,

    /// Print one JSON document instead of text, keys sorted
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Address of a server, with the text that it was parsed from: entries of a netrc file name that.
#[derive(Clone, Debug)]
pub(crate) struct ServerAddress {
    pub(crate) text: String,
    pub(crate) address: Address,
}

impl FromStr for ServerAddress {
    type Err = String;

    /// Parses an address to connect to. An empty variable of the environment means the default.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.is_empty() { DEFAULT_ADDRESS } else { text };
        let address = text.parse().map_err(|error: AddressError| error.to_string())?;
        if let Address::Tcp(host) | Address::WebSocket { host, .. } = &address {
            check_reachable(host)?;
        }
        Ok(ServerAddress { text: text.to_owned(), address })
    }
}

/// Refuses hosts that can only be listened on.
fn check_reachable(host: &Host) -> Result<(), String> {
    match host {
        Host { name, .. } if name.is_empty() => Err("the host is missing".to_owned()),
        Host { port: Some(0), .. } => Err("no server has the port 0".to_owned()),
        _ => Ok(()),
    }
}

/// Parses the time for further attempts. An empty variable of the environment means the default.
fn retry_window(text: &str) -> Result<Duration, String> {
    let window = duration::parse(if text.is_empty() { DEFAULT_RETRY_WINDOW } else { text })?;
    if window > MAX_RETRY_WINDOW {
        return Err("at most a day is possible".to_owned());
    }
    Ok(window)
}

fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::from(text))
}

/// A level as the Yocto Project names it, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum LogLevel {
    #[value(alias = "CRITICAL")]
    Error,
    #[value(alias = "WARN")]
    Warning,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_for_retries_is_bounded() {
        let seconds = |text: &str| retry_window(text).map(|window| window.as_secs_f64());
        assert_eq!([seconds(""), seconds("0"), seconds("0.5")], [Ok(5.0), Ok(0.0), Ok(0.5)]);
        for bad in ["-1", "nan", "inf", "1e9", "x", "25h"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn levels_are_known_in_any_case() {
        let parse = |text| LogLevel::from_str(text, true);
        assert_eq!(parse("warning"), Ok(LogLevel::Warning));
        assert_eq!(parse("warn"), Ok(LogLevel::Warning));
        assert_eq!(parse("CRITICAL"), Ok(LogLevel::Error));
        assert_eq!(parse("Debug"), Ok(LogLevel::Debug));
        assert!(parse("loud").is_err());
    }
}
