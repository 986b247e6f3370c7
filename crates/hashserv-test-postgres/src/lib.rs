//! PostgreSQL for tests.
//!
//! [`database`] gives a test a database of its own, in a private cluster that is started from the installed
//! programs when the first test asks, and goes with the process, however that ends. A test that kills or
//! restarts PostgreSQL takes a [`Cluster`] of its own.
//!
//! | environment | effect |
//! | --- | --- |
//! | `HASHSERV_TEST_POSTGRES_URL` | databases are made on that server, whose user must be allowed to; PostgreSQL must be installed all the same, for `psql` and for tests with a [`Cluster`] of their own |
//! | `HASHSERV_TEST_SKIP_POSTGRES=1` | tests on PostgreSQL are left out; without it they fail where it is not installed |

mod account;
mod cluster;
mod database;
mod programs;
mod proxy;

pub use cluster::{Cluster, Durability, Frozen, Setup};
pub use database::{Database, Hold, database, database_with_encoding};
pub use proxy::Proxy;

/// Whether tests on PostgreSQL are to be left out.
#[must_use]
pub fn is_skipped() -> bool {
    std::env::var("HASHSERV_TEST_SKIP_POSTGRES").is_ok_and(|value| value == "1")
}
