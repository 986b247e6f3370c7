//! Configuration of the server, resolved from the command line and the environment.

use std::path::{PathBuf, absolute};

use hashserv_protocol::Address;
use hashserv_server::Limits;
use hashserv_service::{Admin, Permissions, ServiceOptions, Token};
use hashserv_storage_sql::{Credentials, DatabaseName, Options, Password};
use tracing::Level;

use crate::arguments::Arguments;
use crate::error::StartError;
use crate::logins::{check_token, check_user};
use crate::memory::cache_entries;
use crate::upstream::UpstreamConfig;

/// Configuration of the server.
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

/// Source of the certificate for `wss://`.
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
        check_addresses(&arguments)?;
        check_administrator(&arguments)?;
        Ok(Config {
            upstream: UpstreamConfig::resolve(&arguments)?,
            reuseport: arguments.reuseport,
            certificate: certificate(&arguments, &database),
            database_options: database_options(&arguments),
            service: ServiceOptions {
                anonymous: anonymous_permissions(&arguments.anon_perms)?,
                read_only: arguments.read_only,
                cache_entries: cache_entries(arguments.cache_entries)?,
                negative_ttl: arguments.upstream_negative_ttl,
            },
            admin: arguments
                .admin_user
                .zip(arguments.admin_password)
                .map(|(name, password)| Admin { name, password: Token::from(password) }),
            addresses: arguments.bind,
            limits: Limits {
                connections: arguments.max_connections,
                connections_per_peer: arguments.max_connections_per_peer,
                message: arguments.max_message,
                ..Limits::default()
            },
            log_level: arguments.log.into(),
            database,
        })
    }
}

/// Makes sure that each address is listened on once.
fn check_addresses(arguments: &Arguments) -> Result<(), StartError> {
    let addresses = &arguments.bind;
    for (index, second) in addresses.iter().enumerate() {
        if let Some(first) = addresses[..index].iter().find(|first| is_same(first, second)) {
            return Err(StartError::SameAddress(Box::new([first.clone(), second.clone()])));
        }
    }
    Ok(())
}

/// Returns whether both addresses cannot be listened on at once, as far as they tell.
fn is_same(first: &Address, second: &Address) -> bool {
    match (first, second) {
        (Address::Unix(first), Address::Unix(second)) => {
            first == second || absolute(first).ok().is_some_and(|path| absolute(second).ok() == Some(path))
        }
        (
            Address::Tcp(first) | Address::WebSocket { host: first, .. },
            Address::Tcp(second) | Address::WebSocket { host: second, .. },
        ) => {
            // The system picks another port each time.
            let is_fixed = first.port.is_some_and(|port| port != 0);
            let is_any = first.name.is_empty() || second.name.is_empty();
            is_fixed && first.port == second.port && (is_any || first.name == second.name)
        }
        _ => false,
    }
}

/// Makes sure that the administrator can log in.
fn check_administrator(arguments: &Arguments) -> Result<(), StartError> {
    let (name, password) = (&arguments.admin_user, &arguments.admin_password);
    name.as_deref().map_or(Ok(()), |name| check_user("--admin-user", name))?;
    password.as_deref().map_or(Ok(()), |password| check_token("--admin-password", password))
}

fn certificate(arguments: &Arguments, database: &DatabaseName) -> Certificate {
    match (arguments.tls_cert.clone(), arguments.tls_key.clone()) {
        (Some(chain), Some(key)) => Certificate::Files { chain, key },
        // One comes with the other.
        _ => {
            let directory = arguments.tls_dir.clone().unwrap_or_else(|| beside(database));
            Certificate::SelfSigned { directory }
        }
    }
}

/// The directory that the database lies in.
fn beside(database: &DatabaseName) -> PathBuf {
    let directory = database.sqlite_path().and_then(|path| path.parent());
    directory.filter(|path| !path.as_os_str().is_empty()).map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn database_options(arguments: &Arguments) -> Options {
    Options {
        synchronous: arguments.synchronous.into(),
        credentials: Credentials {
            username: arguments.db_username.clone(),
            password: arguments.db_password.clone().map(Password::from),
        },
        connect_timeout: arguments.db_connect_timeout,
        pool_size: arguments.db_pool_size,
        ..Options::default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use hashserv_log::one_line;

    fn resolve(arguments: &[&str]) -> Result<Config, String> {
        let arguments = Arguments::of(arguments).map_err(|error| error.to_string())?;
        Config::resolve(arguments).map_err(|error| one_line(&error))
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
        assert!(resolve(&["--admin-user", "admin"]).unwrap_err().contains("--admin-password"));
        assert!(resolve(&["--admin-password", "secret"]).unwrap_err().contains("--admin-user"));
        let no_password = resolve(&["--admin-user", "a", "--admin-password", ""]);
        assert!(no_password.unwrap_err().contains("--admin-password"));
        let config = resolve(&["--admin-user", "admin", "--admin-password", "secret"]).unwrap();
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.admin.unwrap().name, "admin");
    }

    #[test]
    fn an_administrator_that_could_never_log_in_is_refused() {
        let (name, password) = ("x".repeat(1025), "s".repeat(4097));
        for (name, password, option) in [
            (&*name, "secret", "--admin-user: a name has 1024 bytes at most"),
            ("a b", "secret", "--admin-user: a name has no blanks"),
            ("admin\n", "secret", "--admin-user: a name has no blanks"),
            ("admin", &password, "--admin-password: a token has 4096 bytes at most"),
        ] {
            let message = resolve(&["--admin-user", name, "--admin-password", password]).unwrap_err();
            assert!(message.starts_with(option) && !message.contains("sss"), "{message}");
        }
        assert!(resolve(&["--admin-user", &name[1..], "--admin-password", &password[1..]]).is_ok());
    }

    #[test]
    fn one_address_is_bound_once() {
        for (first, second, same) in [
            ("127.0.0.1:8686", "127.0.0.1:8686", true),
            ("127.0.0.1:8686", "ws://127.0.0.1:8686/x", true),
            (":8686", "wss://localhost:8686", true),
            ("unix://a.sock", "unix://./a.sock", true),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("ws://", "ws://", false),
            ("127.0.0.1:8686", "127.0.0.1:8687", false),
            ("127.0.0.1:8686", "127.0.0.2:8686", false),
            ("unix://a.sock", "unix://b.sock", false),
        ] {
            let result = resolve(&["--bind", first, "--bind", second]);
            assert_eq!(result.is_err(), same, "{first} {second}");
            if let Err(message) = result {
                assert!(message.starts_with("--bind: ") && !message.contains("another server"), "{message}");
            }
        }
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
            (["--database", "mysql://x"], "--database: databases of the kind mysql://"),
            (
                ["--cache-entries", "999999999999"],
                "--cache-entries: 999999999999 look-ups take about 139698 GiB",
            ),
            (
                ["--cache-entries", "18446744073709551615"],
                "--cache-entries: 18446744073709551615 look-ups take",
            ),
        ] {
            let message = resolve(&arguments).unwrap_err();
            assert!(message.starts_with(error) && !message.contains('\n'), "{message}");
        }
    }
}
