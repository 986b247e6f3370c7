//! The clients that are at work all day.

mod administrator;
mod builds;
mod reporters;

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::world::World;

/// Number of builds at a time.
const BUILDS: u64 = 3;

/// Number of clients that report, and look up what they have reported.
const REPORTERS: u64 = 2;

/// Starts all clients; they end when the day is over.
pub(crate) fn start(world: &Arc<World>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    let mut number = 0;
    let mut rng = || {
        number += 1;
        fastrand::Rng::with_seed(world.settings.seed.wrapping_mul(1_000).wrapping_add(number))
    };
    for _ in 0..BUILDS {
        clients.spawn(builds::build(world.clone(), rng()));
    }
    for _ in 0..REPORTERS {
        clients.spawn(reporters::report(world.clone(), rng()));
    }
    clients.spawn(administrator::administrate(world.clone(), rng()));
    clients
}
