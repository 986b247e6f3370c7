//! What the server is to do, worked out from the command line and the environment.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use hashserv_protocol::Address;
use hashserv_server::Limits;
use hashserv_service::{Admin, Permissions, ServiceOptions, Token};
use hashserv_storage_sql::{Credentials, DatabaseName, Options, Password, Synchronous};
use tracing::Level;

use crate::arguments::{Arguments, DEFAULT_BIND};
use crate::error::StartError;
use crate::memory::cache_entries;
use crate::upstream::{UpstreamConfig, negative_ttl};
use crate::value::{seconds, within};

/// Sizes of the longest message, in bytes: it must hold a report with some text of what was hashed, and no
/// database stores longer texts than 1 GiB.
const MESSAGE_SIZES: RangeInclusive<usize> = 64 * 1024..=1024 * 1024 * 1024;

/// Numbers of clients' connections. A process opens no more than about a million files on most systems.
const CONNECTION_COUNTS: RangeInclusive<usize> = 1..=1_000_000;

/// Numbers of connections to PostgreSQL. The storage would clamp others in silence.
const POOL_SIZES: RangeInclusive<usize> = 5..=100;

/// What the server is to do.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) addresses: Vec<Address>,
    pub(crate) reuseport: bool,
    pub(crate) certificate: Certificate,
    pub(crate) database: DatabaseName,
    pub(crate) database_options: Options,
    pub(crate) service: ServiceOptions,
    pub(crate) upstream: Option<UpstreamConfig>,
    pub(crate) admin: Option<Admin>,
    pub(crate) limits: Limits,
    pub(crate) log_level: Level,
}

/// Where the certificate for `wss://` comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Certificate {
    /// From these files.
    Files { chain: PathBuf, key: PathBuf },
    /// Made by the server itself, and kept in this directory.
    SelfSigned { directory: PathBuf },
}

impl Config {
    /// Works out what the arguments mean.
    pub(crate) fn resolve(arguments: Arguments) -> Result<Self, StartError> {
        let database: DatabaseName = arguments.database.parse()?;
        let addresses = addresses(&arguments.bind, arguments.bind_environment.as_deref())?;
        Ok(Config {
            upstream: UpstreamConfig::resolve(&arguments, &addresses)?,
            addresses,
            reuseport: arguments.reuseport,
            certificate: certificate(&arguments, &database)?,
            database_options: database_options(&arguments)?,
            service: ServiceOptions {
                anonymous: anonymous_permissions(&arguments.anon_perms)?,
                read_only: arguments.read_only,
                cache_entries: cache_entries(arguments.cache_entries)?,
                negative_ttl: negative_ttl(&arguments)?,
            },
            admin: admin(arguments.admin_user, arguments.admin_password)?,
            limits: Limits {
                connections: within("--max-connections", arguments.max_connections, CONNECTION_COUNTS)?,
                connections_per_peer: connections_per_peer(arguments.max_connections_per_peer)?,
                message: within("--max-message", arguments.max_message, MESSAGE_SIZES)?,
                ..Limits::default()
            },
            log_level: log_level(&arguments.log)?,
            database,
        })
    }
}

/// The addresses of the command line, else those of the environment, else the default.
fn addresses(given: &[String], environment: Option<&str>) -> Result<Vec<Address>, StartError> {
    let texts: Vec<&str> = if given.is_empty() {
        environment.unwrap_or_default().split(',').map(str::trim).collect()
    } else {
        given.iter().map(String::as_str).collect()
    };
    let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
    let texts = if texts.is_empty() { vec![DEFAULT_BIND] } else { texts };
    Ok(texts.into_iter().map(str::parse).collect::<Result<_, _>>()?)
}

fn connections_per_peer(given: Option<usize>) -> Result<Option<usize>, StartError> {
    given.map(|number| within("--max-connections-per-peer", number, CONNECTION_COUNTS)).transpose()
}

fn certificate(arguments: &Arguments, database: &DatabaseName) -> Result<Certificate, StartError> {
    match (arguments.tls_cert.clone(), arguments.tls_key.clone()) {
        (Some(chain), Some(key)) => Ok(Certificate::Files { chain, key }),
        (None, None) => {
            let directory = arguments.tls_dir.clone().unwrap_or_else(|| beside(database));
            Ok(Certificate::SelfSigned { directory })
        }
        _ => Err(StartError::IncompleteCertificate),
    }
}

/// The directory that the database lies in.
fn beside(database: &DatabaseName) -> PathBuf {
    let directory = database.sqlite_path().and_then(|path| path.parent());
    directory.filter(|path| !path.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn database_options(arguments: &Arguments) -> Result<Options, StartError> {
    Ok(Options {
        synchronous: synchronous(&arguments.synchronous)?,
        credentials: Credentials {
            username: arguments.db_username.clone(),
            password: arguments.db_password.clone().map(Password::from),
        },
        connect_timeout: seconds("--db-connect-timeout", arguments.db_connect_timeout)?,
        pool_size: within("--db-pool-size", arguments.db_pool_size, POOL_SIZES)?,
        ..Options::default()
    })
}

fn synchronous(mode: &str) -> Result<Synchronous, StartError> {
    match mode.to_ascii_uppercase().as_str() {
        "NORMAL" => Ok(Synchronous::Normal),
        "FULL" => Ok(Synchronous::Full),
        _ => Err(StartError::Choice {
            option: "--synchronous",
            value: mode.to_owned(),
            choices: "NORMAL, FULL",
        }),
    }
}

fn anonymous_permissions(given: &[String]) -> Result<Permissions, StartError> {
    let names = given.iter().flat_map(|text| text.split([',', ' '])).filter(|name| !name.is_empty());
    let permissions = Permissions::from_names(names)?;
    for (forbidden, name) in [(Permissions::ALL, "@all"), (Permissions::USER_ADMIN, "@user-admin")] {
        if permissions.names_any_of(forbidden) {
            return Err(StartError::AnonymousPermission(name));
        }
    }
    Ok(permissions)
}

fn admin(name: Option<String>, password: Option<String>) -> Result<Option<Admin>, StartError> {
    match (name, password) {
        (Some(name), Some(password)) => Ok(Some(Admin { name, password: Token::from(password) })),
        (None, None) => Ok(None),
        _ => Err(StartError::IncompleteAdmin),
    }
}

fn log_level(name: &str) -> Result<Level, StartError> {
    match name.to_ascii_uppercase().as_str() {
        "CRITICAL" | "ERROR" => Ok(Level::ERROR),
        "WARN" | "WARNING" => Ok(Level::WARN),
        "INFO" => Ok(Level::INFO),
        "DEBUG" => Ok(Level::DEBUG),
        "TRACE" => Ok(Level::TRACE),
        _ => Err(StartError::Choice {
            option: "--log",
            value: name.to_owned(),
            choices: "ERROR, WARNING, INFO, DEBUG, TRACE",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashserv_log::one_line;

    fn resolve(arguments: &[&str]) -> Result<Config, String> {
        Config::resolve(Arguments::of(arguments).unwrap()).map_err(|error| one_line(&error))
    }

    #[test]
    fn several_addresses_come_from_options_or_the_environment() {
        let printed = |given: &[&str], environment| -> Vec<String> {
            let given: Vec<String> = given.iter().map(|text| (*text).to_owned()).collect();
            addresses(&given, environment).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(printed(&[], None), [DEFAULT_BIND]);
        assert_eq!(printed(&[], Some("")), [DEFAULT_BIND]);
        assert_eq!(printed(&[], Some("unix://a, :8686")), ["unix://a", ":8686"]);
        assert_eq!(printed(&["unix://a,b", "ws://:0"], Some("unix://c")), ["unix://a,b", "ws://:0"]);
        assert_eq!(printed(&[""], Some("unix://c")), [DEFAULT_BIND]);
    }

    #[test]
    fn anonymous_clients_are_never_given_everything() {
        for (given, error) in [
            ("@all", "@all cannot be given to anonymous clients"),
            ("@read,@user-admin", "@user-admin cannot be given to anonymous clients"),
            ("read", "--anon-perms: Unknown permissions read"),
        ] {
            let message = resolve(&["--anon-perms", given]).unwrap_err();
            assert!(message.contains(error), "{message}");
        }
        let config = resolve(&["--anon-perms", "@read @report", "@db-admin"]).unwrap();
        assert_eq!(config.service.anonymous, ServiceOptions::default().anonymous);
        for none in ["@none", "", " ", ","] {
            let config = resolve(&["--anon-perms", none]).unwrap();
            assert_eq!(config.service.anonymous, Permissions::NONE, "{none:?}");
        }
    }

    #[test]
    fn an_administrator_needs_a_name_and_a_password() {
        assert!(resolve(&["--admin-user", "admin"]).unwrap_err().contains("belong together"));
        assert!(resolve(&["--admin-password", "secret"]).unwrap_err().contains("belong together"));
        let no_password = resolve(&["--admin-user", "a", "--admin-password", ""]);
        assert!(no_password.unwrap_err().contains("belong together"));
        let config = resolve(&["--admin-user", "admin", "--admin-password", "secret"]).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.admin.unwrap().name, "admin");
    }

    #[test]
    fn the_password_of_the_database_is_not_shown() {
        let arguments = ["--database", "postgresql://u:secret@h/db", "--db-username", "me"];
        let config = resolve(&[&arguments[..], &["--db-password", "secret"]].concat()).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        let credentials = config.database_options.credentials;
        assert_eq!(credentials.username.as_deref(), Some("me"));
        assert_eq!(credentials.password, Some(Password::from("secret".to_owned())));
        assert!(resolve(&["--db-connect-timeout=-1"]).is_err());
    }

    #[test]
    fn a_self_signed_certificate_is_kept_beside_the_database() {
        for (arguments, directory) in [
            (&[][..], "."),
            (&["--database", "x.db"], ""),
            (&["--database", "/var/lib/hashserv/x.db"], "/var/lib/hashserv"),
            (&["--database", "/a/x.db", "--tls-dir", "/b"], "/b"),
        ] {
            let directory = if directory.is_empty() { "." } else { directory };
            let expected = Certificate::SelfSigned { directory: directory.into() };
            assert_eq!(resolve(arguments).unwrap().certificate, expected, "{arguments:?}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_in_one_line() {
        for (arguments, error) in [
            (["--log", "LOUD"], "--log: \"LOUD\" is none of ERROR, WARNING, INFO, DEBUG, TRACE"),
            (["--synchronous", "off"], "--synchronous: \"off\" is none of NORMAL, FULL"),
            (["--bind", "nowhere"], "--bind: invalid address \"nowhere\": the port is missing"),
            (["--database", "mysql://x"], "--database: databases of the kind mysql://"),
            (["--max-connections", "0"], "--max-connections must be from 1 to 1000000"),
            (["--max-connections-per-peer", "0"], "--max-connections-per-peer must be from 1 to 1000000"),
            (["--db-pool-size", "4"], "--db-pool-size must be from 5 to 100"),
            (["--db-pool-size", "101"], "--db-pool-size must be from 5 to 100"),
            (["--max-connections", "18446744073709551615"], "--max-connections must be from 1 to 1000000"),
            (["--max-message", "65535"], "--max-message must be from 65536 to 1073741824"),
            (["--max-message", "1073741825"], "--max-message must be from 65536 to 1073741824"),
            (
                ["--cache-entries", "999999999999"],
                "--cache-entries: 999999999999 look-ups take about 139698 GiB",
            ),
            (
                ["--cache-entries", "18446744073709551615"],
                "--cache-entries: 18446744073709551615 look-ups take",
            ),
            (["--tls-cert", "x.pem"], "--tls-cert and --tls-key belong together"),
            (["--tls-key", "x.pem"], "--tls-cert and --tls-key belong together"),
        ] {
            let message = resolve(&arguments).unwrap_err();
            assert!(message.starts_with(error) && !message.contains('\n'), "{message}");
        }
    }
}
