//! When the day is over: all that was acknowledged is there.

use hashserv_tests::BitbakeClient;
use serde_json::json;

use crate::ledger::{Check, Expected, METHOD};
use crate::recovery;
use crate::server::Server;
use crate::world::{ADMINISTRATOR, World};

/// Look-ups in one wave.
const WAVE: usize = 500;

/// Every so many tasks the whole row is looked at.
const ROW_EVERY: usize = 10;

/// Starts a healthy server without an upstream, and looks up all that was acknowledged.
pub(crate) async fn all_is_there(world: &World, rng: &mut fastrand::Rng) {
    let server = Server::start(world.options("afterwards"), &world.folder, &world.ledger);
    let address = server.addresses()[0].clone();
    if recovery::serves(&world.ledger, &address, rng, "the day").await {
        let mut client = BitbakeClient::new(&address);
        let acknowledged = world.ledger.acknowledged();
        entries_are_there(world, &mut client, &acknowledged).await;
        reports_are_there(world, &mut client, &acknowledged).await;
        users_are_there(world, &address).await;
        world.ledger.seen("the last look-ups", client.take_seen());
    }
    server.end().await;
}

async fn entries_are_there(world: &World, client: &mut BitbakeClient, acknowledged: &[(String, String)]) {
    for wave in acknowledged.chunks(WAVE) {
        let tasks: Vec<&String> = wave.iter().map(|(task, _)| task).collect();
        match client.unihashes(METHOD, &tasks).await {
            Ok(answers) => {
                for ((task, unihash), answer) in wave.iter().zip(&answers) {
                    world.ledger.looked_up(task, &Expected::Exactly(unihash.clone()), answer);
                }
            }
            Err(trouble) => {
                let text = format!("{} tasks cannot be looked up: {trouble:?}", wave.len());
                world.ledger.violation(Check::Kept, &text);
            }
        }
    }
}

async fn reports_are_there(world: &World, client: &mut BitbakeClient, acknowledged: &[(String, String)]) {
    let reported = acknowledged.iter().filter(|(task, _)| world.ledger.has_report(task));
    for (task, unihash) in reported.step_by(ROW_EVERY) {
        let request = json!({"get": {"method": METHOD, "taskhash": task, "all": true}});
        let row = client.ask(&request).await;
        if row.as_ref().is_ok_and(|row| row["unihash"] == unihash.as_str()) {
            continue;
        }
        let text = format!("the report of {task} with {unihash} has the row {row:?}");
        world.ledger.violation(Check::Kept, &text);
    }
}

async fn users_are_there(world: &World, address: &str) {
    let (user, token) = ADMINISTRATOR;
    let mut client = BitbakeClient::new(address).with_login(user, token);
    for name in world.ledger.users() {
        let reply = client.ask(&json!({"get-user": {"username": name}})).await;
        if reply.as_ref().is_ok_and(|reply| reply["username"] == name.as_str()) {
            continue;
        }
        world.ledger.violation(Check::Kept, &format!("user {name} was made, now: {reply:?}"));
    }
}
