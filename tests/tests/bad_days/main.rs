//! Bad days: real clients on real servers, while database, disk, upstream and other clients misbehave.
//!
//! A day is a random sequence of rounds. In each some [faults](faults) of different kinds last for a while, slow ones
//! as well as failing ones; then all must be well again. Meanwhile a [mix] of builds, reporters and an administrator
//! is at work on two servers that share a database. A [ledger](ledger) compares all that they see with what they may
//! see, and when the day is over everything that was acknowledged must be there. tests/README.md says how to run a
//! long day, and how to repeat one.

mod day;
mod faults;
mod folder;
mod ledger;
mod mix;
mod proxy;
mod recovery;
mod server;
mod settings;
mod stall;
mod store;
mod upstream;
mod verify;
mod world;

use hashserv_tests::Backend;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_days_on_sqlite_fail_no_build_and_lose_nothing() {
    day::run(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_days_on_postgres_fail_no_build_and_lose_nothing() {
    if Backend::all().contains(&Backend::Postgres) {
        day::run(Backend::Postgres).await;
    }
}
