//! The command line and the environment as they are given.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};

use crate::blank::{number, path, text};
use crate::error::StartError;

/// Where a server listens that is told nothing.
pub(crate) const DEFAULT_BIND: &str = "unix://./hashserver.sock";

const AFTER_HELP: &str = "\
Addresses:
  unix://PATH                unix domain socket
  HOST:PORT, [IPV6]:PORT     TCP
  ws://HOST[:PORT][/PATH]    WebSocket
  wss://HOST[:PORT][/PATH]   WebSocket over TLS
To bind, HOST may be empty (all addresses, IPv4 and IPv6) and PORT may be 0 (the system picks one).

Permissions:
  @read        look hashes up, read statistics
  @report      have reports recorded
  @db-admin    remove entries, collect garbage, read database figures
  @user-admin  manage users, act as another user (never for anonymous clients)
  @all         everything, now and in future (never for anonymous clients)
  @none        nothing

An option wins over its variable. An empty value of either means the default; for --anon-perms it means no
permission.

The server prints 'Listening on ADDRESS' to standard error once it accepts connections. SIGTERM, SIGINT
and SIGQUIT stop it, a second one of them at once; SIGHUP makes it read its certificate again, as it does
by itself within a minute after the files changed. The exit status is 0 after a stop, 1 where it cannot
start or was stopped at once, 2 for a wrong setting, on the command line or in the environment.";

/// Hash equivalence server for the Yocto Project.
///
/// It remembers which task hashes produced the same output and hands all of them one common hash, so that
/// builds need not rebuild what depends on them. BitBake finds it by BB_HASHSERVE.
#[derive(Parser)]
#[command(name = "hashserv", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Arguments {
    /// Address to listen on; may be given several times [default: unix://./hashserver.sock] [env:
    /// HASHSERVER_BIND, separated by commas]
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) bind: Vec<String>,

    // Read by hand: on the command line a comma belongs to the address.
    #[arg(skip)]
    pub(crate) bind_environment: Option<String>,

    /// Database: path of an SQLite file, or sqlite:///PATH (relative; absolute with a fourth slash), or
    /// postgresql://USER@HOST:PORT/NAME, which several servers may share
    // The environment may hold a password in it.
    #[arg(
        short,
        long,
        value_name = "DB",
        env = "HASHSERVER_DB",
        hide_env_values = true,
        default_value = "./hashserver.db",
        value_parser = text()
    )]
    pub(crate) database: String,

    /// User to log in as at PostgreSQL; wins over the URL
    #[arg(long, value_name = "NAME", env = "HASHSERVER_DB_USERNAME", value_parser = text())]
    pub(crate) db_username: Option<String>,

    /// Password of that user; better given by the environment, which other users cannot see
    #[arg(
        long,
        value_name = "PW",
        env = "HASHSERVER_DB_PASSWORD",
        hide_env_values = true,
        value_parser = text()
    )]
    pub(crate) db_password: Option<String>,

    /// For how long to try to reach PostgreSQL when starting
    #[arg(
        long,
        value_name = "SECONDS",
        env = "HASHSERVER_DB_CONNECT_TIMEOUT",
        default_value_t = 30.0,
        value_parser = number::<f64>()
    )]
    pub(crate) db_connect_timeout: f64,

    /// How many connections to PostgreSQL to hold at most, 5 to 100
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_DB_POOL_SIZE",
        default_value_t = 8,
        value_parser = number::<usize>()
    )]
    pub(crate) db_pool_size: usize,

    /// What to log: ERROR, WARNING, INFO (tells of clients that connect and of what is refused), DEBUG or
    /// TRACE
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        env = "HASHSERVER_LOG_LEVEL",
        default_value = "WARNING",
        value_parser = text()
    )]
    pub(crate) log: String,

    /// Server to ask for what is not known here; what it knows is kept here. Nothing is reported to it
    #[arg(short, long, value_name = "ADDRESS", env = "HASHSERVER_UPSTREAM", value_parser = text())]
    pub(crate) upstream: Option<String>,

    /// User to log in as at the upstream
    #[arg(long, value_name = "NAME", env = "HASHSERVER_UPSTREAM_USER", value_parser = text())]
    pub(crate) upstream_user: Option<String>,

    /// Token of that user; better given by the environment or a file, which other users cannot see
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HASHSERVER_UPSTREAM_TOKEN",
        hide_env_values = true,
        value_parser = text()
    )]
    pub(crate) upstream_token: Option<String>,

    /// File that holds the token of that user
    #[arg(long, value_name = "FILE", env = "HASHSERVER_UPSTREAM_TOKEN_FILE", value_parser = path())]
    pub(crate) upstream_token_file: Option<PathBuf>,

    /// How long to wait for the upstream; then clients get the answer from here alone
    #[arg(
        long,
        value_name = "SECONDS",
        env = "HASHSERVER_UPSTREAM_TIMEOUT",
        default_value_t = 5.0,
        value_parser = number::<f64>()
    )]
    pub(crate) upstream_timeout: f64,

    /// How long not to ask again what the upstream does not know; 0 for not at all
    #[arg(
        long,
        value_name = "SECONDS",
        env = "HASHSERVER_UPSTREAM_NEGATIVE_TTL",
        default_value_t = 30.0,
        value_parser = number::<f64>()
    )]
    pub(crate) upstream_negative_ttl: f64,

    /// Authorities that alone are trusted for a wss:// upstream (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE", env = "HASHSERVER_UPSTREAM_CA", value_parser = path())]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Record nothing that clients send; an up-to-date database file need not be writable
    #[arg(short, long, env = "HASHSERVER_READ_ONLY", value_parser = FalseyValueParser::new())]
    pub(crate) read_only: bool,

    /// What clients may do that have not logged in, separated by commas or blanks
    #[arg(
        long,
        value_name = "PERM[,PERM…]",
        env = "HASHSERVER_ANON_PERMS",
        default_value = "@read,@report,@db-admin",
        num_args = 1..
    )]
    pub(crate) anon_perms: Vec<String>,

    /// Make sure that this user exists and may do everything
    #[arg(long, value_name = "NAME", env = "HASHSERVER_ADMIN_USER", value_parser = text())]
    pub(crate) admin_user: Option<String>,

    /// Password of the administrator; better given by the environment, which other users cannot see
    #[arg(
        long,
        value_name = "PW",
        env = "HASHSERVER_ADMIN_PASSWORD",
        hide_env_values = true,
        value_parser = text()
    )]
    pub(crate) admin_password: Option<String>,

    /// Let several processes share the ports of TCP and WebSocket addresses
    #[arg(long)]
    pub(crate) reuseport: bool,

    /// Certificate chain for wss:// addresses (PEM); read again on SIGHUP. Without it the server makes a
    /// self-signed one and keeps it
    #[arg(long, value_name = "FILE", env = "HASHSERVER_TLS_CERT", value_parser = path())]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "HASHSERVER_TLS_KEY", value_parser = path())]
    pub(crate) tls_key: Option<PathBuf>,

    /// Where a self-signed certificate is kept [default: beside the SQLite database]
    #[arg(long, value_name = "DIR", env = "HASHSERVER_TLS_DIR", value_parser = path())]
    pub(crate) tls_dir: Option<PathBuf>,

    /// When a report counts as stored, with SQLite: NORMAL (it survives the end of the process, but perhaps
    /// not a loss of power) or FULL (it survives both)
    #[arg(
        long,
        value_name = "MODE",
        env = "HASHSERVER_SYNCHRONOUS",
        default_value = "NORMAL",
        value_parser = text()
    )]
    pub(crate) synchronous: String,

    /// How many look-ups to remember, some 150 bytes each; 0 for none [default: as many as fit in a
    /// sixteenth of the memory]
    #[arg(long, value_name = "N", env = "HASHSERVER_CACHE_ENTRIES", value_parser = number::<usize>())]
    pub(crate) cache_entries: Option<usize>,

    /// How many connections to hold at once; further clients wait until one ends
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_MAX_CONNECTIONS",
        default_value_t = 10_000,
        value_parser = number::<usize>()
    )]
    pub(crate) max_connections: usize,

    /// How many connections one peer address (an IPv6 /64 network) may have; further ones are closed. Unix sockets
    /// are not counted. Raise it where clients come through a proxy or NAT [default: half of --max-connections]
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_MAX_CONNECTIONS_PER_PEER",
        value_parser = number::<usize>()
    )]
    pub(crate) max_connections_per_peer: Option<usize>,

    /// Longest message to accept, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        env = "HASHSERVER_MAX_MESSAGE",
        default_value_t = hashserv_protocol::DEFAULT_MAX_MESSAGE,
        value_parser = number::<usize>()
    )]
    pub(crate) max_message: usize,
}

impl Arguments {
    /// Reads what the process was given; ends it where the command line makes no sense, or help is asked for.
    ///
    /// # Errors
    ///
    /// [`StartError::Environment`] where a variable of the environment makes no sense.
    pub(crate) fn read() -> Result<Self, StartError> {
        let parsed = Arguments::parse_by(Arguments::command(), std::env::args_os());
        let arguments = parsed.map_err(|error| {
            if Arguments::parse_by(without_variables(), std::env::args_os()).is_err() {
                error.exit();
            }
            StartError::environment(&error)
        })?;
        Ok(Arguments { bind_environment: std::env::var("HASHSERVER_BIND").ok(), ..arguments })
    }

    /// Parses these words, as they stand after the name of the program, whatever the environment holds.
    #[cfg(test)]
    pub(crate) fn of(words: &[&str]) -> Result<Self, clap::Error> {
        Arguments::parse_by(without_variables(), ["hashserv"].iter().chain(words))
    }

    fn parse_by(
        command: Command,
        words: impl IntoIterator<Item: Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let matches = command.clone().try_get_matches_from(words)?;
        Arguments::from_arg_matches(&without_empty_values(&command, matches))
    }
}

fn without_variables() -> Command {
    Arguments::command().mut_args(|argument| argument.env(None))
}

/// An option without a default counts as not given where its value is empty.
fn without_empty_values(command: &Command, mut matches: ArgMatches) -> ArgMatches {
    for argument in command.get_arguments().filter(|argument| is_optional(argument)) {
        let id = argument.get_id().as_str();
        let is_empty = matches.get_raw(id).is_some_and(|mut values| values.all(|value| value.is_empty()));
        // It fails for unknown names only.
        let _ = is_empty && matches.try_clear_id(id).is_ok();
    }
    matches
}

/// Returns whether the argument takes one value and has no default.
fn is_optional(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Set) && argument.get_default_values().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
