//! The command line.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser};
use tracing::level_filters::LevelFilter;

use crate::commands::Command;

/// Where a server listens unless it is told otherwise.
pub(crate) const DEFAULT_ADDRESS: &str = "unix://./hashserver.sock";

const AFTER_HELP: &str = "\
Addresses:
  unix://PATH                  unix domain socket
  ws://HOST[:PORT][/PATH]      WebSocket, port 80 by default
  wss://HOST[:PORT][/PATH]     WebSocket over TLS, port 443 by default
  HOST:PORT, [IPV6]:PORT       TCP

Logging in:
  With --login and --password, or better with HASHSERVER_LOGIN and HASHSERVER_TOKEN
  in the environment, which others cannot see in the list of processes. Without
  them, the file $NETRC or ~/.netrc is searched for
      machine ADDRESS login USER password TOKEN
  where ADDRESS is written exactly as it is given to --address, or else for
      default login USER password TOKEN
  which counts for every address. Without that, anonymously. A file that other
  users can read is not used.

Proxies:
  ws:// and wss:// servers are reached through the proxy in https_proxy, and
  ws:// ones through that in http_proxy, except for the hosts in no_proxy.

Exit status:
  0  done
  1  refused, no connection or another failure: 'ERROR: ...' on standard error;
     without a word where nobody reads the output any more
  2  the command line makes no sense

Examples:
  hashclient --address wss://hashserv.example.com/ws ping
  hashclient get oe.sstatesig.OEOuthashBasic TASKHASH
  hashclient get --stdin < lines-with-method-and-taskhash
  hashclient remove --where taskhash TASKHASH";

/// Looks up, reports and maintains what a hash equivalence server of the Yocto Project knows.
#[derive(Debug, Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 110, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Args)]
#[command(next_help_heading = "Server and output")]
pub(crate) struct Global {
    /// Address of the server
    #[arg(long, global = true, env = "HASHSERVER_ADDRESS", default_value = DEFAULT_ADDRESS)]
    pub(crate) address: String,

    /// What to log to standard error: ERROR, WARNING, INFO, DEBUG or TRACE
    #[arg(long, global = true, value_name = "LEVEL", default_value = "WARNING")]
    pub(crate) log: LogLevel,

    /// User to log in as; needs a token
    #[arg(short, long, global = true, value_name = "USER", env = "HASHSERVER_LOGIN")]
    pub(crate) login: Option<String>,

    /// Token to log in with; on the command line other users of the machine can see it [env: HASHSERVER_TOKEN]
    // The environment is read by hand: there a token without a login is no mistake.
    #[arg(short, long, global = true, value_name = "TOKEN")]
    pub(crate) password: Option<String>,

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

    /// How long to try again, in seconds, where the server cannot be reached or closes the connection
    #[arg(long, global = true, value_name = "SECONDS", env = "HASHSERVER_RETRY_FOR", default_value = "5")]
    pub(crate) retry_for: RetryWindow,

    /// Print one JSON document instead of text, keys sorted
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

// By hand, so that no token gets into a log.
impl std::fmt::Debug for Global {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Global")
            .field("address", &self.address)
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Time for further attempts; that of the default where the text is empty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RetryWindow(pub(crate) Duration);

/// Longest time for further attempts, in seconds.
const MAX_RETRY_SECONDS: f64 = 86_400.0;

impl FromStr for RetryWindow {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = if text.is_empty() { "5" } else { text };
        let seconds = text.parse().ok().filter(|seconds| (0.0..=MAX_RETRY_SECONDS).contains(seconds));
        let seconds = seconds.ok_or("a number of seconds from 0 to 86400 is expected")?;
        Ok(RetryWindow(Duration::from_secs_f64(seconds)))
    }
}

/// A level as the Yocto Project names it, in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLevel(pub(crate) LevelFilter);

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let level = match text.to_ascii_uppercase().as_str() {
            "ERROR" => LevelFilter::ERROR,
            "WARNING" | "WARN" => LevelFilter::WARN,
            "INFO" => LevelFilter::INFO,
            "DEBUG" => LevelFilter::DEBUG,
            "TRACE" => LevelFilter::TRACE,
            _ => return Err("use ERROR, WARNING, INFO, DEBUG or TRACE".to_owned()),
        };
        Ok(LogLevel(level))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_is_explained() {
        let cli = Cli::command();
        let commands: Vec<_> = cli.get_subcommands().filter(|command| command.get_name() != "help").collect();
        assert!(commands.len() >= 22);
        for command in commands {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn time_for_retries_is_bounded() {
        let seconds = |text: &str| text.parse::<RetryWindow>().map(|window| window.0.as_secs_f64());
        assert_eq!([seconds(""), seconds("0"), seconds("0.5")], [Ok(5.0), Ok(0.0), Ok(0.5)]);
        for bad in ["-1", "nan", "inf", "1e9", "x"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn conditions_may_be_repeated() {
        for command in [&["remove"][..], &["gc-mark", "M"]] {
            let arguments = [&["hashclient"], command, &["-w", "method", "m", "--where", "PN", "p"]].concat();
            let cli = Cli::parse_from(arguments);
            assert!(format!("{cli:?}").contains(r#"["method", "m", "PN", "p"]"#), "{cli:?}");
        }
    }

    #[test]
    fn levels_are_known_in_any_case() {
        assert_eq!("warning".parse::<LogLevel>().unwrap().0, LevelFilter::WARN);
        assert_eq!("Debug".parse::<LogLevel>().unwrap().0, LevelFilter::DEBUG);
        assert!("loud".parse::<LogLevel>().is_err());
    }

    #[test]
    fn no_token_is_shown() {
        let cli = Cli::parse_from(["hashclient", "-l", "u", "-p", "secret", "ping"]);
        assert!(!format!("{cli:?}").contains("secret"));
    }
}
