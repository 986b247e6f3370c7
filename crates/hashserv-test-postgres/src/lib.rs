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
mod shared;

pub use cluster::{Cluster, Durability, Frozen, Setup};
pub use database::{Database, Hold};
pub use proxy::Proxy;
pub use shared::{database, database_with_encoding, is_skipped};
