//! A day from morning to evening.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hashserv_tests::Backend;
use tokio::task::JoinSet;

use crate::faults::{self, Fault};
use crate::settings::{Settings, say};
use crate::world::World;
use crate::{mix, recovery, stall, verify};

/// Kinds of faults that happen at the same time, at most.
const FAULTS_AT_ONCE: usize = 3;

/// Time that clients have to finish their last call when the day is over: four attempts of 30 s, and slack.
const CLIENTS_LIMIT: Duration = Duration::from_secs(180);

/// Last lines of each server's log that are told where a check failed.
const LOG_LINES: usize = 30;

/// A fault and how long it lasts.
type Event = (Fault, Duration);

/// Lives through a day on this database.
///
/// # Panics
///
/// When a check has failed, after all is cleared away.
pub(crate) async fn run(backend: Backend) {
    let settings = Settings::from_environment();
    say(&format!("{backend:?}: {settings:?}"));
    let stalls = stall::watch();
    let world = Arc::new(World::create(backend, &settings).await);
    // Faults have numbers of their own, so that their sequence does not depend on what clients do.
    let mut rng = fastrand::Rng::with_seed(settings.seed);
    recovery::all_well(&world, &mut rng.fork(), "the start").await;
    let possible = faults::possible(&world);
    let clients = mix::start(&world);
    let start = Instant::now();
    for number in 1.. {
        if start.elapsed() >= settings.length {
            break;
        }
        round(&world, &possible, &mut rng, number).await;
    }
    evening(&world, clients, &mut rng).await;
    stalls.abort();
    let (verdict, logs) = (world.ledger.verdict(), logs(&world));
    say(&format!("{backend:?}: {}", world.ledger));
    drop(world);
    assert!(verdict.is_empty(), "{backend:?}, {settings:?}\n{verdict}\n{logs}");
}

/// Lets some faults happen, and waits until all is well again.
async fn round(world: &Arc<World>, possible: &[Fault], rng: &mut fastrand::Rng, number: usize) {
    world.ledger.round(number);
    let events = draw(world, possible, rng);
    let names: Vec<String> =
        events.iter().map(|(fault, time)| format!("{} for {time:.1?}", fault.name)).collect();
    let names = names.join(", ");
    say(&format!("round {number}: {names}"));
    let mut happening = JoinSet::new();
    for (fault, time) in events {
        happening.spawn(fault.happen(world.clone(), rng.fork(), time));
    }
    happening.join_all().await;
    let passed = Instant::now();
    recovery::all_well(world, &mut rng.fork(), &names).await;
    say(&format!("round {number}: well again after {:.1?}; {}", passed.elapsed(), world.ledger));
}

/// Draws faults of different kinds.
fn draw(world: &World, possible: &[Fault], rng: &mut fastrand::Rng) -> Vec<Event> {
    let mut drawn = possible.to_vec();
    rng.shuffle(&mut drawn);
    let mut kinds = Vec::new();
    drawn.retain(|fault| {
        let is_first = !kinds.contains(&fault.kind);
        kinds.push(fault.kind);
        is_first
    });
    drawn.truncate(rng.usize(1..=FAULTS_AT_ONCE));
    drawn.into_iter().map(|fault| (fault, length(world, rng))).collect()
}

/// Draws the length of a fault: on a long day some last longer than all that waits for them.
fn length(world: &World, rng: &mut fastrand::Rng) -> Duration {
    let milliseconds = match rng.u8(..10) {
        9 if world.settings.is_long() => rng.u64(20_000..50_000),
        7..9 if world.settings.is_long() => rng.u64(6_000..20_000),
        _ => rng.u64(500..4_000),
    };
    Duration::from_millis(milliseconds)
}

/// Sends the clients home, stops the servers and takes stock.
async fn evening(world: &Arc<World>, clients: JoinSet<()>, rng: &mut fastrand::Rng) {
    world.end();
    let gone = tokio::time::timeout(CLIENTS_LIMIT, clients.join_all()).await;
    assert!(gone.is_ok(), "clients do not end: a call has no limit");
    for server in &world.servers {
        server.end().await;
    }
    verify::all_is_there(world, rng).await;
}

/// The end of each log.
fn logs(world: &World) -> String {
    let tail = |log: String| {
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    };
    world
        .servers
        .iter()
        .map(|server| format!("{:?}:\n{}\n", server.addresses(), tail(server.log())))
        .collect()
}
