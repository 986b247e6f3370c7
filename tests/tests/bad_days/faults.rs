//! The faults of a day.
//!
//! A fault is a function that makes something misbehave, for a given time, and puts it right again, also where it is
//! dropped. Faults of one kind do not happen at the same time, those of different kinds do.

mod crowd;
mod disk;
mod postgres;
mod programs;
mod upstream;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::store::Store;
use crate::world::World;

/// What misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Database,
    Upstream,
    Servers,
    Clients,
}

type Lasting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A fault.
#[derive(Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    run: fn(Arc<World>, fastrand::Rng, Duration) -> Lasting,
}

/// A fault with its name in the report, its kind and the function that runs it.
macro_rules! fault {
    ($name:literal, $kind:ident, $run:expr) => {
        Fault { name: $name, kind: Kind::$kind, run: |world, rng, time| Box::pin($run(world, rng, time)) }
    };
}
pub(crate) use fault;

impl Fault {
    /// Lets the fault happen for some time.
    pub(crate) fn happen(self, world: Arc<World>, rng: fastrand::Rng, time: Duration) -> Lasting {
        (self.run)(world, rng, time)
    }
}

/// All faults that can happen in this world and that the settings allow.
pub(crate) fn possible(world: &World) -> Vec<Fault> {
    let mut faults = match &world.store {
        Store::Sqlite(sqlite) => disk::possible(sqlite),
        Store::Postgres(_) => postgres::FAULTS.to_vec(),
    };
    faults.extend(upstream::FAULTS);
    faults.extend(programs::FAULTS);
    faults.extend(crowd::FAULTS);
    faults.retain(|fault| world.settings.allows(fault.name));
    assert!(!faults.is_empty(), "no fault has such a name: {:?}", world.settings.faults);
    faults
}

/// Does something when it is dropped: a fault passes also where the day ends by a panic.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
