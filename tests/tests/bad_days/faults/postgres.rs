//! Faults of PostgreSQL and of the network before it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;

use super::{Fault, Finally, Kind, fault};
use crate::proxy::Link;
use crate::store::{Postgres, Store};
use crate::world::World;

pub(super) const FAULTS: [Fault; 10] = [
    fault!("PostgreSQL frozen", Database, |world, _, time| freeze(world, time)),
    fault!("PostgreSQL stopped and started", Database, |world, _, time| restart(world, time, false)),
    fault!("PostgreSQL crashed and started", Database, |world, _, time| restart(world, time, true)),
    fault!("connections to PostgreSQL terminated", Database, |world, _, time| terminate(world, time)),
    fault!("table of reports locked", Database, |world, _, time| lock(
        world,
        "outhashes_v2",
        "ACCESS EXCLUSIVE",
        time
    )),
    fault!("table of entries locked", Database, |world, _, time| lock(
        world,
        "unihashes_v3",
        "ACCESS EXCLUSIVE",
        time
    )),
    fault!("table of entries locked for writing", Database, |world, _, time| lock(
        world,
        "unihashes_v3",
        "SHARE",
        time
    )),
    fault!("network to PostgreSQL slow", Database, |world, mut rng: fastrand::Rng, time| {
        link(world, Link::Slow(Duration::from_millis([30, 300, 2_000][rng.usize(..3)])), time)
    }),
    fault!("network to PostgreSQL frozen", Database, |world, _, time| link(world, Link::Frozen, time)),
    fault!("network to PostgreSQL cut", Database, |world, _, time| link(world, Link::Cut, time)),
];

fn postgres(world: &World) -> &Postgres {
    match &world.store {
        Store::Postgres(postgres) => postgres,
        Store::Sqlite(_) => panic!("a fault of PostgreSQL on SQLite"),
    }
}

async fn freeze(world: Arc<World>, time: Duration) {
    let _frozen = postgres(&world).cluster.freeze();
    tokio::time::sleep(time).await;
}

async fn restart(world: Arc<World>, time: Duration, by_a_crash: bool) {
    let shared = world.clone();
    let end = move || {
        let cluster = &postgres(&shared).cluster;
        if by_a_crash { cluster.kill() } else { cluster.stop() }
    };
    spawn_blocking(end).await.expect("an end");
    tokio::time::sleep(time).await;
    spawn_blocking(move || postgres(&world).cluster.run()).await.expect("a start");
}

/// Runs SQL beside the servers.
async fn run(world: &Arc<World>, sql: String) {
    let world = world.clone();
    spawn_blocking(move || postgres(&world).database.run(&sql)).await.expect("SQL");
}

async fn terminate(world: Arc<World>, time: Duration) {
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        run(&world, sql.to_owned()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn lock(world: Arc<World>, table: &str, mode: &str, time: Duration) {
    let seconds = time.as_secs_f64();
    let sql = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE; SELECT pg_sleep({seconds}); COMMIT");
    run(&world, sql).await;
}

async fn link(world: Arc<World>, link: Link, time: Duration) {
    let proxy = &postgres(&world).proxy;
    let _healed = Finally(|| proxy.set(Link::Good));
    proxy.set(link);
    tokio::time::sleep(time).await;
}
