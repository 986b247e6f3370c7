//! Builds: waves of look-ups over one connection, and tasks that report over connections of their own.

use std::sync::Arc;

use hashserv_tests::{BitbakeClient, hash, report_of_a_task};
use tokio::task::JoinSet;

use crate::ledger::{Expected, METHOD, Task};
use crate::upstream;
use crate::world::World;

/// Tasks that run at a time.
const THREADS: usize = 4;

/// Builds, one after another.
pub(crate) async fn build(world: Arc<World>, mut rng: fastrand::Rng) {
    while !world.is_over() {
        let mut client = world.client(&mut rng);
        for _ in 0..rng.usize(1..12) {
            if world.is_over() {
                break;
            }
            wave(&world, &mut rng, &mut client).await;
            if rng.u8(..100) < 20 {
                existence(&world, &mut rng, &mut client).await;
            }
            run_tasks(&world, &mut rng).await;
            world.pause(&mut rng, 20..150).await;
        }
    }
}

/// Looks up tasks of all kinds, all at once.
async fn wave(world: &World, rng: &mut fastrand::Rng, client: &mut BitbakeClient) {
    let size = [1, 10, 60, 400][rng.usize(..4)];
    let size = rng.usize(1..=size);
    let mut taskhashes = world.ledger.some_tasks(rng, size);
    for _ in 0..rng.usize(..=size) {
        taskhashes.push(match rng.bool() {
            // Few, so that some are known by now.
            true => upstream::known(&hash(&format!("of upstream {}", rng.u16(..2_000)))),
            false => world.ledger.unknown_taskhash(),
        });
    }
    rng.shuffle(&mut taskhashes);
    if taskhashes.is_empty() {
        return;
    }
    let expected: Vec<Expected> = taskhashes.iter().map(|task| world.ledger.expected(task)).collect();
    let answers = client.unihashes(METHOD, &taskhashes).await;
    world.ledger.seen("get-stream", client.take_seen());
    match answers {
        Err(trouble) => world.ledger.failed("get-stream", &trouble),
        Ok(answers) => {
            for ((task, expected), answer) in taskhashes.iter().zip(&expected).zip(&answers) {
                world.ledger.looked_up(task, expected, answer);
            }
        }
    }
}

/// Asks for unihashes, some of which were acknowledged.
async fn existence(world: &World, rng: &mut fastrand::Rng, client: &mut BitbakeClient) {
    let mut unihashes = Vec::new();
    for task in world.ledger.some_tasks(rng, 20) {
        if let Expected::Exactly(unihash) = world.ledger.expected(&task) {
            unihashes.push(unihash);
        }
    }
    let known = unihashes.len();
    unihashes.push(world.ledger.unknown_taskhash());
    let answers = client.exist(&unihashes).await;
    world.ledger.seen("exists-stream", client.take_seen());
    match answers {
        Err(trouble) => world.ledger.failed("exists-stream", &trouble),
        Ok(answers) => {
            for (at, answer) in answers.iter().enumerate() {
                world.ledger.exists(&unihashes[at], at < known, answer);
            }
        }
    }
}

/// Reports tasks, some at a time, sometimes two of one output at the same instant.
async fn run_tasks(world: &Arc<World>, rng: &mut fastrand::Rng) {
    let mut running = JoinSet::new();
    for _ in 0..rng.usize(1..=THREADS) {
        let task = world.ledger.new_task(rng);
        if rng.u8(..100) < 20 {
            running.spawn(run_task(world.clone(), rng.fork(), world.ledger.twin_of(&task)));
        }
        running.spawn(run_task(world.clone(), rng.fork(), task));
    }
    running.join_all().await;
}

async fn run_task(world: Arc<World>, mut rng: fastrand::Rng, task: Task) {
    let siginfo = if rng.u8(..100) < 5 { rng.usize(..200_000) } else { 0 };
    let (reply, mut client) = report_of_a_task(world.address(&mut rng), &task.report(siginfo)).await;
    world.ledger.seen("report", client.take_seen());
    match reply {
        Ok(reply) => world.ledger.reported(&task, &reply),
        Err(trouble) => world.ledger.failed("report", &trouble),
    }
}
