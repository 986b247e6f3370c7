//! The database server, and how to connect to it.

use std::borrow::Borrow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hashserv_storage::StorageError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use tokio::time::{Instant, sleep, timeout};

use super::error::{Failure, is_of_connection, timed_out};
use super::url::{Url, check_place};
use crate::name::masked;
use crate::options::Options;

/// How long making a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends a statement soon after the connection to its client was closed, where the server can notice that (since
/// PostgreSQL 14, on Linux).
macro_rules! end_with_client {
    () => {
        "DO $hashserv$ BEGIN PERFORM set_config('client_connection_check_interval', '1s', false); \
         EXCEPTION WHEN OTHERS THEN NULL; END $hashserv$; "
    };
}

/// Keeps the planner from reading whole tables for keys that it has indexes for, and from sorting what an index has
/// in order. Nothing goes on after its caller has given up.
///
/// Prepared statements keep their plans. One that was made while a table was small would go on reading all
/// of it when it has grown by a million rows. JIT compilation takes longer than any of our look-ups.
const FOR_KEYS: &str = concat!(
    end_with_client!(),
    "SET enable_seqscan = off; SET enable_sort = off; SET jit = off; SET statement_timeout = '20s'"
);
const FOR_SCANS: &str = concat!(end_with_client!(), "SET statement_timeout = '300s'");
const FOR_INDEXES: &str = concat!(end_with_client!(), "SET statement_timeout = 0; SET lock_timeout = 0");

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Session {
    /// For finding rows by their keys.
    Keys,
    /// For reading whole tables.
    Scans,
    /// For creating an index, which may take hours.
    Indexes,
}

impl Session {
    fn settings(self) -> &'static str {
        match self {
            Session::Keys => FOR_KEYS,
            Session::Scans => FOR_SCANS,
            Session::Indexes => FOR_INDEXES,
        }
    }
}

/// A PostgreSQL server and how to get to a database there.
pub(crate) struct Server {
    options: PgConnectOptions,
    /// The URL without secrets.
    name: String,
    pooled: bool,
    /// Whether it could not be reached when it was last tried.
    away: AtomicBool,
}

impl Server {
    /// Reads a URL of the scheme `postgresql`; what it does not tell is taken from `PG*` in the environment.
    pub(crate) fn new(url: &str, options: &Options) -> Result<Self, StorageError> {
        let name = masked(url);
        let wrong = |source| StorageError::WrongSetting { what: name.clone(), source };
        let url = Url::read(url, &name).map_err(|source| wrong(source.into()))?;
        let connect: PgConnectOptions =
            url.text.parse().map_err(|source: sqlx::Error| wrong(Plain(source).into()))?;
        check_place(connect.get_host(), connect.get_port()).map_err(|source| wrong(source.into()))?;
        let mut connect = connect.disable_statement_logging();
        if connect.get_application_name().is_none() {
            connect = connect.application_name("hashserv");
        }
        if let Some(username) = &options.credentials.username {
            connect = connect.username(username);
        }
        if let Some(password) = &options.credentials.password {
            connect = connect.password(password.reveal());
        }
        Ok(Server { options: connect, name, pooled: url.pooled, away: AtomicBool::new(false) })
    }

    /// The URL without secrets.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether a transaction pooler stands in front of the database.
    pub(crate) fn is_pooled(&self) -> bool {
        self.pooled
    }

    pub(crate) async fn connect(&self, session: Session) -> Result<PgConnection, Failure> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            // Behind a pooler the settings would be somebody else's, and no plan is kept.
            if !self.pooled {
                connection.execute(session.settings()).await?;
            }
            Ok(connection)
        };
        let connected = timeout(CONNECT_LIMIT, connecting).await.unwrap_or_else(|_| Err(timed_out()));
        self.take_note_of(connected.as_ref().err());
        connected.map_err(Failure::before_work)
    }

    /// Tells the log when the database goes away and when it is back, once each.
    fn take_note_of(&self, failure: Option<&sqlx::Error>) {
        let database = &self.name;
        match (failure, self.away.swap(failure.is_some(), Ordering::Relaxed)) {
            (Some(error), false) => {
                let reason = Plain(error);
                tracing::warn!(%database, %reason, "cannot connect to the database, trying again");
            }
            (None, true) => tracing::warn!(%database, "connected to the database again"),
            _ => {}
        }
    }

    /// Connects; where the database cannot be reached, or is starting, tries again for `patience`.
    pub(crate) async fn connect_at_start(&self, patience: Duration) -> Result<PgConnection, StorageError> {
        let until = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let limit = CONNECT_LIMIT.min(until.saturating_duration_since(Instant::now())).max(FIRST_PAUSE);
            let error = match timeout(limit, PgConnection::connect_with(&self.options)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_) => timed_out(),
            };
            if !is_of_connection(&error) || Instant::now() + pause > until {
                return Err(self.open_error(error));
            }
            let (database, reason) = (&self.name, Plain(&error));
            tracing::warn!(%database, %reason, "cannot connect to the database, trying again in {pause:?}");
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
    }

    /// Connects to be told of notifications; the connection is closed with the listener.
    pub(crate) async fn listener(&self) -> Result<PgListener, sqlx::Error> {
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(CONNECT_LIMIT);
        // A database that is away is told of elsewhere.
        let options = options.acquire_slow_threshold(2 * CONNECT_LIMIT);
        let pool = options.connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        Ok(listener)
    }

    /// The error of a database that is not as it must be.
    pub(crate) fn unfit(&self, reason: String) -> StorageError {
        StorageError::Open { what: self.name.clone(), source: reason.into() }
    }

    pub(crate) fn open_error(&self, source: sqlx::Error) -> StorageError {
        StorageError::Open { what: self.name.clone(), source: Plain(source).into() }
    }
}

/// An error as it is told to people: without what the driver puts around it.
#[derive(Debug)]
pub(crate) struct Plain<E>(pub(crate) E);

impl<E: Borrow<sqlx::Error>> fmt::Display for Plain<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.borrow() {
            sqlx::Error::Database(error) => f.write_str(error.message()),
            sqlx::Error::Io(error) => error.fmt(f),
            sqlx::Error::Configuration(error) => error.fmt(f),
            error => error.fmt(f),
        }
    }
}

impl<E: Borrow<sqlx::Error> + fmt::Debug> std::error::Error for Plain<E> {}

// By hand, as the options hold the password.
impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Credentials, Password};

    fn server(url: &str, credentials: Credentials) -> Server {
        Server::new(url, &Options { credentials, ..Options::default() }).unwrap()
    }

    #[test]
    fn credentials_of_the_options_win_over_those_of_the_url() {
        let credentials = Credentials {
            username: Some("other".to_owned()),
            password: Some(Password::from("n3w".to_owned())),
        };
        let server = server("postgresql://user:old@h/db", credentials);
        let url = server.options.to_url_lossy();
        assert_eq!((url.username(), url.password()), ("other", Some("n3w")));
    }

    #[test]
    fn no_password_is_shown() {
        let credentials = Credentials { username: None, password: Some(Password::from("n3w".to_owned())) };
        let shown = format!("{:?}", server("postgresql://user:old@h/db?password=old", credentials.clone()));
        assert!(!shown.contains("old") && !shown.contains("n3w"), "{shown}");
        assert!(!format!("{credentials:?}").contains("n3w"));
        let error = Server::new("postgresql://user:old@h:port/db", &Options::default()).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("old"));
    }

    #[test]
    fn url_that_no_attempt_can_succeed_with_is_a_wrong_setting() {
        for (url, reason) in [
            ("postgresql://u@h:99999/db", "invalid port number"),
            ("postgresql://u@h:0/db", "the port must be 1 to 65535"),
            ("postgresql://u@[::g]:5432/db", "invalid IPv6 address"),
            ("postgresql://u@h/db?port=70000", "the URL's parameter port must be a number from 1 to 65535"),
            ("postgresql://u@h/db?sslmode=bogus", "the URL's parameter sslmode must be one of disable, "),
            ("postgresql://u@h/db?ssl=foo", "the URL's parameter ssl must be one of disable, "),
            ("postgresql://u@h/db?other=1", "the URL's parameter other is not supported"),
            ("postgresql://u@a,b/db", "several hosts are not supported"),
            ("postgresql://u@a:1,b:2/db", "several hosts are not supported"),
            ("postgresql://u@h/db?host=a,b", "several hosts are not supported"),
        ] {
            match Server::new(url, &Options::default()).unwrap_err() {
                StorageError::WrongSetting { source, .. } => {
                    assert!(source.to_string().starts_with(reason), "{url}: {source}");
                }
                error => panic!("{url}: {error:?}"),
            }
        }
    }

    #[test]
    fn part_of_a_password_is_not_shown_as_a_value() {
        for url in ["postgresql://u:1?sslmode=secret@h/db", "postgresql://u:1?port=secret@h/db"] {
            let error = Server::new(url, &Options::default()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }

    #[test]
    fn hosts_that_do_not_fit_into_a_url_are_taken() {
        for url in ["postgresql:///db", "postgresql:///db?host=/run", "postgresql:///db?host=::1"] {
            server(url, Credentials::default());
        }
        let server =
            server("postgresql:///db?hostaddr=::1&statement-cache-capacity=0", Credentials::default());
        assert!(server.is_pooled());
        assert_eq!(server.options.get_host(), "::1");
    }
}
