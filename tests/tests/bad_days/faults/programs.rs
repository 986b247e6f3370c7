//! Faults of the servers themselves.

use std::sync::Arc;
use std::time::Duration;

use super::{Fault, Kind, fault};
use crate::server::Server;
use crate::world::World;

pub(super) const FAULTS: [Fault; 3] = [
    fault!("server killed", Servers, |world, rng, time| end(world, rng, time, Server::kill)),
    fault!("server stopped", Servers, |world, rng, time| end(world, rng, time, Server::stop)),
    fault!("both servers stopped", Servers, |world, _, time| end_both(world, time)),
];

async fn end(world: Arc<World>, mut rng: fastrand::Rng, time: Duration, end: fn(&Server)) {
    tokio::time::sleep(time / 2).await;
    end(&world.servers[rng.usize(..world.servers.len())]);
    tokio::time::sleep(time / 2).await;
}

async fn end_both(world: Arc<World>, time: Duration) {
    tokio::time::sleep(time / 2).await;
    for server in &world.servers {
        server.stop();
    }
    tokio::time::sleep(time / 2).await;
}
