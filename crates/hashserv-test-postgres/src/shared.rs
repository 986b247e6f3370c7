//! The server that the tests of a process share.

use std::sync::OnceLock;

use crate::cluster::{Cluster, Setup};
use crate::database::{Database, UTF8};

/// A new, empty database on the server that the tests of this process share; `None` where tests on PostgreSQL
/// are to be left out.
///
/// # Panics
///
/// Where PostgreSQL is not installed (the message says what to do), or does not start.
#[must_use]
pub fn database() -> Option<Database> {
    database_with_encoding(UTF8)
}

/// As [`database`], with an encoding by PostgreSQL's name for it.
///
/// # Panics
///
/// As [`database`].
#[must_use]
pub fn database_with_encoding(encoding: &str) -> Option<Database> {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    if is_skipped() {
        return None;
    }
    if let Ok(server) = std::env::var("HASHSERV_TEST_POSTGRES_URL") {
        return Some(Database::create(&server, encoding));
    }
    // Each storage of a test holds some connections.
    let settings = vec!["max_connections = 500".to_owned(), "shared_buffers = 64MB".to_owned()];
    let cluster = CLUSTER.get_or_init(|| Cluster::start(&Setup { settings, ..Setup::default() }));
    Some(Database::create(&cluster.url("postgres"), encoding))
}

/// Returns whether tests on PostgreSQL are to be left out.
#[must_use]
pub fn is_skipped() -> bool {
    std::env::var("HASHSERV_TEST_SKIP_POSTGRES").is_ok_and(|value| value == "1")
}
