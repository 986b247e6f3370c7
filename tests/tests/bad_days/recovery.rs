//! After a fault has passed, all must be well again.

use std::time::{Duration, Instant};

use hashserv_tests::{BitbakeClient, hash};
use serde_json::json;

use crate::ledger::{Check, Ledger, METHOD};
use crate::upstream;
use crate::world::World;

/// Time within which a server must serve again after a fault, its start included.
const SERVICE_LIMIT: Duration = Duration::from_secs(60);

/// Time within which the upstream must be used again: a server pauses for 60 s at most.
const UPSTREAM_LIMIT: Duration = Duration::from_secs(120);

/// Waits until every server answers on each address, and uses the upstream; the first that does not is enough.
pub(crate) async fn all_well(world: &World, rng: &mut fastrand::Rng, after: &str) {
    for server in &world.servers {
        for address in server.addresses() {
            if !serves(&world.ledger, address, rng, after).await {
                return;
            }
        }
        if !uses_upstream(world, &server.addresses()[0], after).await {
            return;
        }
    }
}

/// Waits until a report and a look-up of it succeed, and returns whether they did.
pub(crate) async fn serves(ledger: &Ledger, address: &str, rng: &mut fastrand::Rng, after: &str) -> bool {
    let start = Instant::now();
    let task = ledger.new_task(rng);
    loop {
        let mut client = BitbakeClient::new(address);
        let trouble = match client.ask(&task.report(0)).await {
            Err(trouble) => trouble,
            Ok(reply) => {
                ledger.reported(&task, &reply);
                let expected = ledger.expected(&task.taskhash);
                match client.unihashes(METHOD, &[&task.taskhash]).await {
                    Err(trouble) => trouble,
                    Ok(answers) => {
                        ledger.seen("report and get-stream", client.take_seen());
                        ledger.looked_up(&task.taskhash, &expected, &answers[0]);
                        return true;
                    }
                }
            }
        };
        ledger.seen("report and get-stream", client.take_seen());
        ledger.failed("report and get-stream", &trouble);
        if start.elapsed() > SERVICE_LIMIT {
            let text = format!("{address} does not serve {:?} after {after}: {trouble:?}", start.elapsed());
            ledger.violation(Check::Recovery, &text);
            return false;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a task that only the upstream knows is known, and returns whether it is.
async fn uses_upstream(world: &World, address: &str, after: &str) -> bool {
    let ledger = &world.ledger;
    let start = Instant::now();
    loop {
        // A new one each time: the server may remember that the upstream did not know it.
        let taskhash = upstream::known(&hash(&format!("probe {}", ledger.number())));
        let mut client = BitbakeClient::new(address);
        let request = json!({"get": {"method": METHOD, "taskhash": taskhash}});
        let expected = ledger.expected(&taskhash);
        let reply = client.ask(&request).await;
        ledger.seen("get", client.take_seen());
        match reply {
            Ok(row) => {
                let unihash = row["unihash"].as_str().unwrap_or_default();
                ledger.looked_up(&taskhash, &expected, unihash);
                if !unihash.is_empty() {
                    return true;
                }
            }
            Err(trouble) => ledger.failed("get", &trouble),
        }
        if start.elapsed() > UPSTREAM_LIMIT {
            let text = format!("{address} does not use its upstream {:?} after {after}", start.elapsed());
            ledger.violation(Check::Recovery, &text);
            return false;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}
