//! The command line.

use std::ffi::OsString;
use std::str::FromStr;

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
  which counts for every address. Without that, anonymously.

Exit status:
  0  done
  1  refused, no connection or another failure: 'ERROR: ...' on standard error
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
