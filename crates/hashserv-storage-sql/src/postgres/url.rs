//! The URL of a database, as the driver is to read it.

/// Parameters that the driver knows. It would ignore others, and show their values in the log.
const KNOWN: [&str; 16] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// The same of asyncpg, and SQLAlchemy's for it, by the names that the driver has. Ignored, the first would leave the
/// way unprotected, and the others a pooler unnoticed.
const RENAMED: [(&str, &str); 3] =
    [("ssl", "sslmode"), ("statement_cache_size", STATEMENTS), ("prepared_statement_cache_size", STATEMENTS)];

/// What others' URLs carry and we decide ourselves. None of it protects anything.
const IGNORED: [&str; 10] = [
    "async_fallback",
    "client_encoding",
    "command_timeout",
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "target_session_attrs",
    "timeout",
];

/// How many prepared statements to keep.
const STATEMENTS: &str = "statement-cache-capacity";

/// A URL that the driver understands in full; it may hold a password.
pub(crate) struct Url {
    pub(crate) text: String,
    /// Whether a transaction pooler stands in front of the database: it gives each transaction another session, where
    /// prepared statements are unknown.
    pub(crate) pooled: bool,
}

/// Values of `sslmode`.
const SSL_MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// A URL that no database can be reached by. No value is repeated: part of a password may look like one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrongUrl {
    /// The parameter means nothing to us, and might matter.
    #[error("the URL's parameter {0} is not supported: remove it")]
    UnknownParameter(String),
    #[error("the URL's parameter {0} must be one of {modes}", modes = SSL_MODES.join(", "))]
    SslMode(&'static str),
    #[error("the URL's parameter port must be a number from 1 to 65535")]
    PortParameter,
    #[error("the port must be 1 to 65535")]
    Port,
    #[error("several hosts are not supported: name one, or an address that leads to the database in charge")]
    SeveralHosts,
}

/// Checks where a URL leads to, as the driver has read it.
pub(crate) fn check_place(host: &str, port: u16) -> Result<(), WrongUrl> {
    match port {
        // In the path of a socket a comma is one.
        _ if host.contains(',') && !host.starts_with('/') => Err(WrongUrl::SeveralHosts),
        0 => Err(WrongUrl::Port),
        _ => Ok(()),
    }
}

/// Checks the value of a parameter. One with percent-encoding is left to the driver.
fn check_value(name: &str, value: &str) -> Result<(), WrongUrl> {
    let is_given = !value.contains('%');
    match name {
        "ssl" | "sslmode" | "ssl-mode" if is_given && !SSL_MODES.contains(&&*value.to_ascii_lowercase()) => {
            Err(WrongUrl::SslMode(if name == "ssl" { "ssl" } else { "sslmode" }))
        }
        "port" if value.contains(',') => Err(WrongUrl::SeveralHosts),
        "port" if is_given && !value.parse::<u16>().is_ok_and(|port| port > 0) => {
            Err(WrongUrl::PortParameter)
        }
        _ => Ok(()),
    }
}

/// Returns whether the part of a URL between `//` and the path names several hosts.
fn has_several_hosts(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    // What precedes an @ that comes later belongs to a password.
    !rest[authority.len()..].contains('@') && hosts.contains(',')
}

impl Url {
    /// Translates the parameters of a URL. The error has only a name that stands in `shown`, the URL without secrets:
    /// part of a password may look like a parameter.
    pub(crate) fn read(url: &str, shown: &str) -> Result<Self, WrongUrl> {
        if has_several_hosts(url) {
            return Err(WrongUrl::SeveralHosts);
        }
        let Some((head, query)) = url.split_once('?') else {
            return Ok(Url { text: url.to_owned(), pooled: false });
        };
        let mut parameters = Vec::new();
        let mut pooled = false;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            check_value(name, value)?;
            let name = RENAMED.iter().find(|(theirs, _)| *theirs == name).map_or(name, |(_, ours)| ours);
            if name == STATEMENTS {
                pooled = value.parse() == Ok(0);
            } else if IGNORED.contains(&name) {
                continue;
            } else if !KNOWN.contains(&name) && name != "options" && !name.starts_with("options[") {
                let name = if shown.contains(name) { name } else { "***" };
                return Err(WrongUrl::UnknownParameter(name.to_owned()));
            }
            parameters.push(format!("{name}={value}"));
        }
        Ok(Url { text: format!("{head}?{}", parameters.join("&")), pooled })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Url, WrongUrl> {
        Url::read(url, &crate::name::masked(url))
    }

    fn text(url: &str) -> String {
        read(url).unwrap().text
    }

    #[test]
    fn a_pooler_is_told_by_the_statement_cache() {
        for name in ["statement-cache-capacity", "statement_cache_size", "prepared_statement_cache_size"] {
            assert!(read(&format!("postgresql:///db?host=/run&{name}=0")).unwrap().pooled, "{name}");
            assert!(!read(&format!("postgresql:///db?{name}=10")).unwrap().pooled, "{name}");
        }
        assert!(!read("postgresql:///db").unwrap().pooled);
    }

    #[test]
    fn the_encryption_that_asyncpg_is_told_is_kept() {
        assert_eq!(text("postgresql://h/db?port=1&ssl=require"), "postgresql://h/db?port=1&sslmode=require");
        assert_eq!(text("postgresql://h/db"), "postgresql://h/db");
    }

    #[test]
    fn the_driver_sees_no_parameter_that_it_would_show() {
        assert_eq!(
            text("postgresql://h/db?connect_timeout=5&user=u&&timeout=1&options[jit]=off"),
            "postgresql://h/db?user=u&options[jit]=off"
        );
        let error = read("postgresql://h/db?sslpassword=topsecret").err();
        assert_eq!(error, Some(WrongUrl::UnknownParameter("sslpassword".to_owned())));
    }

    #[test]
    fn a_password_that_looks_like_parameters_is_not_shown() {
        for url in ["postgresql://u:1?secret@h/db", "postgresql://u:1?secret=2@h/db"] {
            assert_eq!(read(url).err(), Some(WrongUrl::UnknownParameter("***".to_owned())), "{url}");
        }
    }
}
