//! The command line and the environment as they are given.

use std::ffi::{OsStr, OsString};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgGroup, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use hashserv_protocol::Address;

use crate::values::{LogLevel, SynchronousMode, duration, number, positive_duration, yes_or_no};
use crate::words::{mask_value, name_variable, options_of_list, without_empty_values};

/// Default address to listen on.
pub(crate) const DEFAULT_BIND: &str = "unix://./hashserver.sock";

/// Sizes of the longest message, in bytes: it must hold a report with some text of what was hashed, and no
/// database stores longer texts than 1 GiB.
const MESSAGE_SIZES: RangeInclusive<u64> = 64 * 1024..=1024 * 1024 * 1024;

/// Numbers of clients' connections. A process opens no more than about a million files on most systems.
const CONNECTION_COUNTS: RangeInclusive<u64> = 1..=1_000_000;

/// Numbers of connections to PostgreSQL. The storage would clamp others in silence.
const POOL_SIZES: RangeInclusive<u64> = 5..=100;

/// Id of the options of which one gives the token for the upstream.
const UPSTREAM_TOKEN: &str = "upstream_token_source";

/// Paragraphs are one line each: clap wraps them to the width of the terminal.
const AFTER_HELP: &str = "\
Addresses:
  unix://PATH: unix domain socket
  HOST:PORT, [IPV6]:PORT: TCP
  ws://HOST[:PORT][/PATH]: WebSocket
  wss://HOST[:PORT][/PATH]: WebSocket over TLS

To bind, HOST may be empty (all addresses, IPv4 and IPv6) and PORT may be 0 (the system picks one).

Permissions:
  @read: look hashes up, read statistics
  @report: have reports recorded
  @db-admin: remove entries, collect garbage, read database figures
  @user-admin: manage users, act as another user (never for anonymous clients)
  @all: everything, now and in future (never for anonymous clients)
  @none: nothing

An option wins over its variable. An empty value of either means the default; for --anon-perms it means no \
permission. HASHSERVER_READ_ONLY is 1, true, yes or on, or 0, false, no or off. Times are seconds, or have a unit: \
500ms, 5s, 2m, 1h.

The server prints 'Listening on ADDRESS' to standard error once it accepts connections. SIGTERM, SIGINT and SIGQUIT \
stop it, a second one after a second or more at once; SIGHUP makes it read its certificate again, as it does by itself \
within a minute after the files changed.

The exit status is 0 after a stop, 1 where it cannot start, lost its database or was stopped at once, 2 for a wrong \
setting, on the command line or in the environment.";

/// Hash equivalence server for the Yocto Project.
///
/// It remembers which task hashes produced the same output and hands all of them one common hash, so that
/// builds need not rebuild what depends on them. BitBake finds it by BB_HASHSERVE.
#[derive(Parser)]
#[command(name = "hashserv", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(group = ArgGroup::new(UPSTREAM_TOKEN).args(["upstream_token", "upstream_token_file"]))]
pub(crate) struct Arguments {
    /// Address to listen on; may be given several times [env: HASHSERVER_BIND, separated by commas]
    // On the command line a comma belongs to the address, so the variable becomes options.
    #[arg(short, long, value_name = "ADDRESS", env = "HASHSERVER_BIND", default_value = DEFAULT_BIND)]
    pub(crate) bind: Vec<Address>,

    /// Database: path of an SQLite file, or sqlite:///PATH (relative; absolute with a fourth slash), or
    /// postgresql://USER@HOST:PORT/NAME, which several servers may share
    // The environment may hold a password in it.
    #[arg(
        short,
        long,
        value_name = "DB",
        env = "HASHSERVER_DB",
        hide_env_values = true,
        default_value = "./hashserver.db"
    )]
    pub(crate) database: String,

    /// User to log in as at PostgreSQL; wins over the URL
    #[arg(long, value_name = "NAME", env = "HASHSERVER_DB_USERNAME")]
    pub(crate) db_username: Option<String>,

    /// Password of that user; better given by the environment, which other users cannot see
    #[arg(long, value_name = "PW", env = "HASHSERVER_DB_PASSWORD", hide_env_values = true)]
    pub(crate) db_password: Option<String>,

    /// Deadline for reaching PostgreSQL at the start
    #[arg(
        long,
        value_name = "TIME",
        env = "HASHSERVER_DB_CONNECT_TIMEOUT",
        default_value = "30s",
        value_parser = duration
    )]
    pub(crate) db_connect_timeout: Duration,

    /// Most connections to PostgreSQL, 5 to 100
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_DB_POOL_SIZE",
        default_value_t = 8,
        value_parser = number(POOL_SIZES)
    )]
    pub(crate) db_pool_size: usize,

    /// Least important messages to log; INFO reports clients that connect and refusals
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        env = "HASHSERVER_LOG_LEVEL",
        default_value = "WARNING",
        ignore_case = true
    )]
    pub(crate) log: LogLevel,

    /// Server to ask for what is not known here; what it knows is kept here. Nothing is reported to it
    #[arg(short, long, value_name = "ADDRESS", env = "HASHSERVER_UPSTREAM")]
    pub(crate) upstream: Option<Address>,

    /// User to log in as at the upstream
    #[arg(long, value_name = "NAME", env = "HASHSERVER_UPSTREAM_USER", requires = UPSTREAM_TOKEN)]
    pub(crate) upstream_user: Option<String>,

    /// Token of that user; better given by the environment or a file, which other users cannot see
    #[arg(
        long,
        value_name = "TOKEN",
        env = "HASHSERVER_UPSTREAM_TOKEN",
        requires = "upstream_user",
        hide_env_values = true
    )]
    pub(crate) upstream_token: Option<String>,

    /// File that holds the token of that user
    #[arg(long, value_name = "FILE", env = "HASHSERVER_UPSTREAM_TOKEN_FILE", requires = "upstream_user")]
    pub(crate) upstream_token_file: Option<PathBuf>,

    /// Deadline for answers of the upstream; after it clients get the answer from here alone
    #[arg(
        long,
        value_name = "TIME",
        env = "HASHSERVER_UPSTREAM_TIMEOUT",
        default_value = "5s",
        value_parser = positive_duration
    )]
    pub(crate) upstream_timeout: Duration,

    /// Time for which a miss at the upstream is not asked again; 0 asks every time
    #[arg(
        long,
        value_name = "TIME",
        env = "HASHSERVER_UPSTREAM_NEGATIVE_TTL",
        default_value = "30s",
        value_parser = duration
    )]
    pub(crate) upstream_negative_ttl: Duration,

    /// Authorities that alone are trusted for a wss:// upstream (PEM) [default: those of the system]
    #[arg(long, value_name = "FILE", env = "HASHSERVER_UPSTREAM_CA")]
    pub(crate) upstream_ca: Option<PathBuf>,

    /// Record nothing that clients send; an up-to-date database file need not be writable
    #[arg(short, long, env = "HASHSERVER_READ_ONLY", value_parser = yes_or_no)]
    pub(crate) read_only: bool,

    /// Permissions of clients that have not logged in, separated by commas or blanks
    #[arg(
        long,
        value_name = "PERM[,PERM…]",
        env = "HASHSERVER_ANON_PERMS",
        default_value = "@read,@report,@db-admin",
        num_args = 1..
    )]
    pub(crate) anon_perms: Vec<String>,

    /// Make sure that this user exists and may do everything
    #[arg(long, value_name = "NAME", env = "HASHSERVER_ADMIN_USER", requires = "admin_password")]
    pub(crate) admin_user: Option<String>,

    /// Password of the administrator; better given by the environment, which other users cannot see
    #[arg(
        long,
        value_name = "PW",
        env = "HASHSERVER_ADMIN_PASSWORD",
        requires = "admin_user",
        hide_env_values = true
    )]
    pub(crate) admin_password: Option<String>,

    /// Let several processes share the ports of TCP and WebSocket addresses
    #[arg(long)]
    pub(crate) reuseport: bool,

    /// Certificate chain for wss:// addresses (PEM); read again on SIGHUP. Without it the server makes a
    /// self-signed one and keeps it
    #[arg(long, value_name = "FILE", env = "HASHSERVER_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", env = "HASHSERVER_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Folder for a self-signed certificate [default: beside the SQLite database]
    #[arg(long, value_name = "DIR", env = "HASHSERVER_TLS_DIR")]
    pub(crate) tls_dir: Option<PathBuf>,

    /// Durability of an acknowledged report, with SQLite: NORMAL (it survives the end of the process, but perhaps
    /// not a loss of power) or FULL (it survives both)
    #[arg(
        long,
        value_name = "MODE",
        env = "HASHSERVER_SYNCHRONOUS",
        default_value = "NORMAL",
        ignore_case = true
    )]
    pub(crate) synchronous: SynchronousMode,

    /// Number of look-ups to remember, some 150 bytes each; 0 for none [default: as many as fit in a
    /// sixteenth of the memory]
    #[arg(long, value_name = "N", env = "HASHSERVER_CACHE_ENTRIES", value_parser = number(0..=u64::MAX))]
    pub(crate) cache_entries: Option<usize>,

    /// Most connections at once; further clients wait until one ends
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_MAX_CONNECTIONS",
        default_value_t = 10_000,
        value_parser = number(CONNECTION_COUNTS)
    )]
    pub(crate) max_connections: usize,

    /// Most connections of one peer address (an IPv6 /64 network); further ones are closed. Unix sockets
    /// are not counted. Raise it where clients come through a proxy or NAT [default: half of --max-connections]
    #[arg(
        long,
        value_name = "N",
        env = "HASHSERVER_MAX_CONNECTIONS_PER_PEER",
        value_parser = number(CONNECTION_COUNTS)
    )]
    pub(crate) max_connections_per_peer: Option<usize>,

    /// Longest message to accept, in bytes
    #[arg(
        long,
        value_name = "BYTES",
        env = "HASHSERVER_MAX_MESSAGE",
        default_value_t = hashserv_protocol::DEFAULT_MAX_MESSAGE,
        value_parser = number(MESSAGE_SIZES)
    )]
    pub(crate) max_message: usize,
}

impl Arguments {
    /// Reads what the process was given; ends it where that makes no sense, or help is asked for.
    pub(crate) fn read() -> Self {
        Arguments::parse_by(Arguments::command(), std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    /// Parses these words, as they stand after the name of the program, whatever the environment holds.
    #[cfg(test)]
    pub(crate) fn of(words: &[&str]) -> Result<Self, clap::Error> {
        let command = Arguments::command().mut_args(|argument| argument.env(None));
        Arguments::parse_by(command, ["hashserv"].iter().chain(words).map(OsString::from))
    }

    fn parse_by(command: Command, words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let (command, mut words) = without_empty_values(command, words);
        let variable = command.get_arguments().find(|argument| argument.get_id() == "bind");
        let variable = variable.and_then(|bind| std::env::var_os(bind.get_env()?));
        let mut command = command.mut_arg("bind", |bind| bind.env(None));
        let mut matches = parse(&command, &words)?;
        if let Some(list) = variable
            && matches.value_source("bind") == Some(ValueSource::DefaultValue)
        {
            words.extend(addresses_of_variable(&mut command, &list)?);
            matches = parse(&command, &words)
                .map_err(|error| name_variable(error, &Arguments::command(), &words[..1]))?;
        }
        Arguments::from_arg_matches(&matches)
    }
}

fn parse(command: &Command, words: &[OsString]) -> Result<ArgMatches, clap::Error> {
    command
        .clone()
        .try_get_matches_from(words)
        .map_err(|error| mask_value(name_variable(error, command, words)))
}

/// Returns the addresses of the variable, as options.
///
/// # Errors
///
/// Where it names none: the server would listen elsewhere than was meant.
fn addresses_of_variable(command: &mut Command, list: &OsStr) -> Result<Vec<OsString>, clap::Error> {
    let Some(text) = list.to_str() else {
        return Err(command.error(ErrorKind::InvalidUtf8, "--bind: HASHSERVER_BIND is not UTF-8"));
    };
    let options = options_of_list("--bind", text);
    if options.is_empty() {
        return Err(command.error(ErrorKind::ValueValidation, "--bind: HASHSERVER_BIND names no address"));
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_values_are_refused_by_name() {
        for words in [
            ["--log", "LOUD"],
            ["--synchronous", "off"],
            ["--bind", "nowhere"],
            ["--upstream", "nowhere"],
            ["--upstream-timeout", "0"],
            ["--upstream-timeout", "inf"],
            ["--db-connect-timeout", "x"],
            ["--max-connections", "0"],
            ["--max-connections-per-peer", "0"],
            ["--db-pool-size", "4"],
            ["--db-pool-size", "101"],
            ["--max-connections", "18446744073709551615"],
            ["--max-message", "65535"],
            ["--max-message", "1073741825"],
        ] {
            let message = Arguments::of(&words).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(words[0]) && message.contains(words[1]), "{words:?}: {message}");
        }
    }

    #[test]
    fn halves_of_a_pair_are_refused() {
        for (words, missing) in [
            (["--tls-cert", "x.pem"], "--tls-key"),
            (["--tls-key", "x.pem"], "--tls-cert"),
            (["--admin-user", "admin"], "--admin-password"),
            (["--admin-password", "secret"], "--admin-user"),
            (["--upstream-user", "me"], "--upstream-token-file"),
            (["--upstream-token", "secret"], "--upstream-user"),
            (["--upstream-token-file", "x"], "--upstream-user"),
        ] {
            let empty = format!("{missing}=");
            for words in [&words[..], &[words[0], words[1], &empty]] {
                let message = Arguments::of(words).err().map(|error| error.to_string()).unwrap_or_default();
                assert!(message.contains(missing) && message.contains(words[0]), "{words:?}: {message}");
                assert!(!message.contains("secret"), "{message}");
            }
        }
        let both = ["--upstream-user=me", "--upstream-token=secret", "--upstream-token-file=x"];
        let message = Arguments::of(&both).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("cannot be used with") && !message.contains("secret"), "{message}");
    }

    #[test]
    fn several_addresses_come_from_options() {
        let printed = |words: &[&str]| -> Vec<String> {
            Arguments::of(words).unwrap().bind.iter().map(ToString::to_string).collect()
        };
        assert_eq!(printed(&[]), [DEFAULT_BIND]);
        for empty in [&["--bind", ""][..], &["--bind="], &["-b", ""]] {
            assert_eq!(printed(empty), [DEFAULT_BIND]);
        }
        assert_eq!(printed(&["--bind", "unix://a,b", "-b", "ws://:0"]), ["unix://a,b", "ws://:0"]);
    }

    #[test]
    fn addresses_of_the_variable_are_separated_by_commas() {
        assert_eq!(options_of_list("--bind", "unix://a, :8686,"), ["--bind=unix://a", "--bind=:8686"]);
        assert!(options_of_list("--bind", "").is_empty());
    }
}
