//! Clients that report over one connection, and ask in every way for what they have reported.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::ledger::{Expected, METHOD};
use crate::world::World;

/// Reports tasks and asks for tasks, one request after another.
pub(crate) async fn report(world: Arc<World>, mut rng: fastrand::Rng) {
    let mut client = world.client(&mut rng);
    while !world.is_over() {
        if rng.u8(..100) < 5 {
            client = world.client(&mut rng);
        }
        let task = world.ledger.new_task(&mut rng);
        let reply = client.ask(&task.report(0)).await;
        world.ledger.seen(client.take_seen());
        match reply {
            Ok(reply) => world.ledger.reported(&task, &reply),
            Err(trouble) => world.ledger.failed("report", &trouble),
        }
        for taskhash in world.ledger.some_tasks(&mut rng, 1) {
            let expected = world.ledger.expected(&taskhash);
            let (name, request) = question(&mut rng, &taskhash);
            let reply = client.ask(&request).await;
            world.ledger.seen(client.take_seen());
            match reply {
                Ok(reply) => check(&world, &taskhash, &expected, &reply),
                Err(trouble) => world.ledger.failed(name, &trouble),
            }
        }
        world.pause(&mut rng, 5..60).await;
    }
}

/// Asks for a task in one of the ways that there are in normal mode.
fn question(rng: &mut fastrand::Rng, taskhash: &str) -> (&'static str, Value) {
    match rng.u8(..10) {
        0..3 => ("get with all", json!({"get": {"method": METHOD, "taskhash": taskhash, "all": true}})),
        _ => ("get", json!({"get": {"method": METHOD, "taskhash": taskhash}})),
    }
}

fn check(world: &World, taskhash: &str, expected: &Expected, reply: &Value) {
    let answer = reply["unihash"].as_str().unwrap_or_default();
    world.ledger.looked_up(taskhash, expected, answer);
}
