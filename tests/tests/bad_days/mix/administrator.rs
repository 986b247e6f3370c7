//! An administrator who collects garbage, removes, and makes users; nothing of it may touch the method of the builds.

use std::sync::Arc;
use std::time::Duration;

use hashserv_tests::{BitbakeClient, BuildTrouble, HANDSHAKE, RawClient, hash};
use serde_json::{Value, json};

use crate::ledger::{Check, METHOD};
use crate::world::{ADMINISTRATOR, World};

/// The method of what is removed.
const REMOVED_METHOD: &str = "oe.removed";

/// Pause before a request is sent again that was not answered.
const PAUSE: Duration = Duration::from_millis(200);

/// Every so many rounds of a long day there is so much to remove that a server does it in several steps.
const MASS_EVERY: usize = 8;

/// Batches of a mass, and reports in each.
const MASS: (usize, usize) = (40, 100);

/// Administrates until the day is over.
pub(crate) async fn administrate(world: Arc<World>, mut rng: fastrand::Rng) {
    for round in 0.. {
        if world.is_over() {
            return;
        }
        let (user, token) = ADMINISTRATOR;
        let mut client = world.client(&mut rng).with_login(user, token);
        let admin = &mut Administrator { world: &world, client: &mut client };
        admin.report_what_goes(round).await;
        if world.settings.is_long() && round % MASS_EVERY == 0 {
            drop(report_a_mass(world.address(&mut rng), round).await);
        }
        match rng.u8(..10) {
            0..3 => admin.collect(round).await,
            3..5 => admin.remove().await,
            5 => admin.clean_unused().await,
            6 => admin.look_around().await,
            _ => admin.manage_users(round).await,
        }
        world.pause(&mut rng, 200..900).await;
    }
}

/// Reports a mass of what goes, as far as the server lets it.
async fn report_a_mass(address: &str, round: usize) -> std::io::Result<()> {
    let mut client = RawClient::dial(address).await?;
    client.try_send_lines(&HANDSHAKE).await?;
    let (batches, size) = MASS;
    for batch in 0..batches {
        let report = |number| what_goes(&format!("mass {round} {batch} {number}")).to_string();
        client.try_send_lines(&(0..size).map(report).collect::<Vec<_>>()).await?;
        for _ in 0..size {
            if client.try_line().await?.is_none() {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// The report of a task that may be removed.
fn what_goes(name: &str) -> Value {
    let of = |what: &str| hash(&format!("{what} {name}"));
    json!({"report": {"method": REMOVED_METHOD, "taskhash": of("task"), "outhash": of("output"),
        "unihash": of("unihash")}})
}

struct Administrator<'a> {
    world: &'a World,
    client: &'a mut BitbakeClient,
}

impl Administrator<'_> {
    /// Sends a request that must not be refused, except by a text that has this part, where it was repeated.
    async fn ask(&mut self, request: Value, may_be_refused: Option<&str>) -> Option<Value> {
        let reply = self.client.ask(&request).await;
        // How long an administrator waits is not limited as it is for builds.
        self.client.take_seen();
        match reply {
            Ok(reply) => Some(reply),
            Err(BuildTrouble::Exception(text)) if may_be_refused.is_some_and(|part| text.contains(part)) => {
                None
            }
            Err(trouble) => {
                self.world.ledger.failed(&request.to_string(), &trouble);
                None
            }
        }
    }

    async fn report_what_goes(&mut self, round: usize) {
        for number in 0..5 {
            let report = what_goes(&format!("{} goes {round} {number}", self.world.settings.seed));
            self.ask(report, None).await;
        }
    }

    /// Marks all of the builds, and sweeps what is left. A sweep is sent only when its mark was acknowledged.
    async fn collect(&mut self, round: usize) {
        let mark = format!("mark {round}");
        let request = json!({"gc-mark": {"mark": mark, "where": {"method": METHOD}}});
        while self.ask(request.clone(), None).await.is_none() {
            if self.world.is_over() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.ask(json!({"gc-status": null}), None).await;
        // The reply to a first one may have been lost.
        self.ask(json!({"gc-sweep": {"mark": mark}}), Some("is not the current mark")).await;
    }

    async fn remove(&mut self) {
        self.ask(json!({"remove": {"where": {"method": REMOVED_METHOD}}}), None).await;
    }

    async fn clean_unused(&mut self) {
        self.ask(json!({"clean-unused": {"max_age_seconds": 0}}), None).await;
    }

    async fn look_around(&mut self) {
        self.ask(json!({"get-db-usage": null}), None).await;
        self.ask(json!({"get-stats": null}), None).await;
        self.ask(json!({"get-db-query-columns": null}), None).await;
    }

    /// Makes a user who must be there afterwards, and one who is deleted.
    async fn manage_users(&mut self, round: usize) {
        for name in [format!("stays-{round}"), format!("goes-{round}")] {
            let request = json!({"new-user": {"username": name, "permissions": ["@read", "@report"]}});
            let Some(reply) = self.ask(request, Some("Cannot create new user")).await else { return };
            if reply["token"].as_str().map(str::len) != Some(64) {
                self.world.ledger.violation(Check::Lines, &format!("a new user has no token: {reply}"));
            }
            if name.starts_with("stays") {
                self.world.ledger.user_made(&name);
                continue;
            }
            self.ask(json!({"delete-user": {"username": name}}), Some("No user named")).await;
        }
    }
}
