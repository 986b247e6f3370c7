//! Clients that report over one connection, and ask in every way for what they have reported.

use std::sync::Arc;

use hashserv_tests::BitbakeClient;
use serde_json::{Value, json};

use crate::ledger::{Expected, METHOD, Task};
use crate::world::World;

/// Records tasks and asks for tasks, one request after another.
pub(crate) async fn report(world: Arc<World>, mut rng: fastrand::Rng) {
    let mut client = world.client(&mut rng);
    while !world.is_over() {
        if rng.u8(..100) < 5 {
            client = world.client(&mut rng);
        }
        record(&world, &mut rng, &mut client).await;
        for taskhash in world.ledger.some_tasks(&mut rng, 1) {
            match rng.u8(..10) {
                0..2 => look_up_output(&world, &mut client, &taskhash).await,
                2..4 if world.ledger.has_report(&taskhash) => {
                    look_up(&world, &mut client, &taskhash, true).await;
                }
                _ => look_up(&world, &mut client, &taskhash, false).await,
            }
        }
        world.pause(&mut rng, 5..60).await;
    }
}

/// Reports a task, or records its unihash directly.
async fn record(world: &World, rng: &mut fastrand::Rng, client: &mut BitbakeClient) {
    let is_report = rng.u8(..100) < 85;
    let task = if is_report { world.ledger.new_task(rng) } else { world.ledger.new_entry() };
    let Task { taskhash, unihash, .. } = &task;
    let equivalence = json!({"report-equiv": {"method": METHOD, "taskhash": taskhash, "unihash": unihash}});
    let request = if is_report { task.report(0) } else { equivalence };
    if let Some(reply) = ask(world, client, &request).await {
        world.ledger.reported(&task, &reply);
    }
}

async fn look_up(world: &World, client: &mut BitbakeClient, taskhash: &str, all: bool) {
    let expected = world.ledger.expected(taskhash);
    let request = json!({"get": {"method": METHOD, "taskhash": taskhash, "all": all}});
    if let Some(reply) = ask(world, client, &request).await {
        let answer = reply["unihash"].as_str().unwrap_or_default();
        world.ledger.looked_up(taskhash, &expected, answer);
    }
}

/// Looks up the oldest report of a task's output, whose unihash is that of all others.
async fn look_up_output(world: &World, client: &mut BitbakeClient, taskhash: &str) {
    let Some((outhash, unihash)) = world.ledger.output_of(taskhash) else { return };
    let request = json!({"get-outhash": {"method": METHOD, "outhash": outhash, "taskhash": taskhash}});
    if let Some(reply) = ask(world, client, &request).await {
        let answer = reply["unihash"].as_str().unwrap_or_default();
        world.ledger.looked_up(&outhash, &Expected::Exactly(unihash), answer);
    }
}

async fn ask(world: &World, client: &mut BitbakeClient, request: &Value) -> Option<Value> {
    let reply = client.ask(request).await;
    world.ledger.seen(&request.to_string(), client.take_seen());
    reply.map_err(|trouble| world.ledger.failed(&request.to_string(), &trouble)).ok()
}
