//! How a database is opened.

use std::fmt;
use std::time::Duration;

/// How a database is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only read: writes are refused, and nothing is created or upgraded but tables that a PostgreSQL database lacks.
    /// `false` unless set.
    pub read_only: bool,
    /// When SQLite makes commits durable. PostgreSQL decides that by its own configuration.
    pub synchronous: Synchronous,
    /// How many connections look up hashes, 1 to 16; what is outside is taken as the nearest bound. SQLite
    /// gives each a thread. 2 unless set: look-ups are gathered into batches, so more connections serve
    /// only machines with more cores.
    pub readers: usize,
    /// Who to log in as at PostgreSQL; what is set wins over the URL.
    pub credentials: Credentials,
    /// For how long to try to reach a PostgreSQL server when opening. 30 seconds unless set.
    pub connect_timeout: Duration,
    /// How many connections to a PostgreSQL server to hold at most, 5 to 100; what is outside is taken as the
    /// nearest bound. 8 unless set. One is told of removals by others, one writes, one reads whole tables;
    /// half of the others look up hashes, half read single rows.
    pub pool_size: usize,
}

/// A name and a password.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The name to log in with.
    pub username: Option<String>,
    /// The password of that user.
    pub password: Option<Password>,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    #[cfg(feature = "postgres")]
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Password(text)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_only: false,
            synchronous: Synchronous::default(),
            readers: 2,
            credentials: Credentials::default(),
            connect_timeout: Duration::from_secs(30),
            pool_size: 8,
        }
    }
}

/// When SQLite makes a commit durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// At a checkpoint: a commit survives the death of the process, but the last ones may be lost when the
    /// machine loses power. The database stays consistent.
    #[default]
    Normal,
    /// At the commit, at the price of one flush of the disk for each group of writes.
    Full,
}
