//! Faults of the upstream.

use std::sync::Arc;
use std::time::Duration;

use super::{Fault, Finally, Kind, fault};
use crate::upstream::Manners;
use crate::world::World;

/// A fault by which the upstream behaves so.
macro_rules! misbehaving {
    ($name:literal, $manners:ident) => {
        fault!($name, Upstream, |world, _, time| misbehave(world, Manners::$manners, time))
    };
}

pub(super) const FAULTS: [Fault; 9] = [
    misbehaving!("upstream frozen", Frozen),
    misbehaving!("upstream trickles", Trickling),
    misbehaving!("upstream answers rubbish", Rubbish),
    misbehaving!("upstream closes", Closing),
    misbehaving!("upstream sends half a reply", Torn),
    misbehaving!("upstream has hostile unihashes", Lying),
    misbehaving!("upstream answers thrice", Thrice),
    misbehaving!("upstream refuses", Refusing),
    misbehaving!("upstream sends an endless line", Endless),
];

async fn misbehave(world: Arc<World>, manners: Manners, time: Duration) {
    let _good = Finally(|| world.upstream.behave(Manners::Good));
    if manners == Manners::Thrice {
        world.ledger.misled();
    }
    world.upstream.behave(manners);
    tokio::time::sleep(time).await;
}
