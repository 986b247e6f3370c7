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
    recovery::serves(&world.ledger, &address, rng, "the day").await;
    let mut client = BitbakeClient::new(&address);
    let acknowledged = world.ledger.acknowledged();
    for wave in acknowledged.chunks(WAVE) {
        let tasks: Vec<&String> = wave.iter().map(|(task, _)| task).collect();
        let answers = client.unihashes(METHOD, &tasks).await;
        let answers = answers.unwrap_or_else(|trouble| panic!("a healthy server answers: {trouble:?}"));
        for ((task, unihash), answer) in wave.iter().zip(&answers) {
            world.ledger.looked_up(task, &Expected::Exactly(unihash.clone()), answer);
        }
    }
    for (task, unihash) in acknowledged.iter().step_by(ROW_EVERY) {
        let request = json!({"get": {"method": METHOD, "taskhash": task, "all": true}});
        let row = client.ask(&request).await;
        let row = row.unwrap_or_else(|trouble| panic!("a healthy server answers: {trouble:?}"));
        if row["unihash"] != unihash.as_str() {
            let text = format!("the report of {task} with {unihash} has the row {row}");
            world.ledger.violation(Check::Kept, &text);
        }
    }
    users_are_there(world, &address).await;
    world.ledger.seen(client.take_seen());
    server.end().await;
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
