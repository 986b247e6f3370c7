//! Clients that misbehave.

use std::sync::Arc;
use std::time::Duration;

use hashserv_tests::{HANDSHAKE, RawClient, hash};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Fault, Kind, fault};
use crate::world::World;

/// A fault by which so many clients do this, again and again.
macro_rules! crowd {
    ($name:literal, $clients:literal, $act:expr) => {
        fault!($name, Clients, |world, rng, time| crowd(world, rng, time, $clients, |client, rng| {
            Box::pin($act(client, rng))
        }))
    };
}

pub(super) const FAULTS: [Fault; 7] = [
    crowd!("clients flood", 10, flood),
    crowd!("clients send garbage", 5, garbage),
    crowd!("clients send huge items", 2, huge),
    crowd!("clients leave amid a message", 5, leave),
    crowd!("clients never read", 5, never_read),
    crowd!("clients idle", 150, idle),
    crowd!("clients ask what is invalid", 5, ask_invalid),
];

/// Pause of a client between its deeds: the machine is shared with those who are to be served.
const BREATH: Duration = Duration::from_millis(30);

type Acting<'a> = std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send + 'a>>;
type Act = for<'a> fn(&'a mut RawClient, &'a mut fastrand::Rng) -> Acting<'a>;

async fn crowd(world: Arc<World>, mut rng: fastrand::Rng, time: Duration, clients: usize, act: Act) {
    let mut crowd = JoinSet::new();
    for _ in 0..clients {
        crowd.spawn(misbehave(world.clone(), rng.fork(), act));
    }
    // Whatever they are at, they leave when their time is over: dropping the set closes their connections.
    drop(timeout(time, crowd.join_all()).await);
}

async fn misbehave(world: Arc<World>, mut rng: fastrand::Rng, act: Act) {
    loop {
        if let Ok(mut client) = RawClient::dial(world.address(&mut rng)).await
            && client.try_send_lines(&HANDSHAKE).await.is_ok()
        {
            drop(act(&mut client, &mut rng).await);
        }
        tokio::time::sleep(BREATH).await;
    }
}

/// Sends requests as fast as they are taken, and reads only now and then.
async fn flood(client: &mut RawClient, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let request = json!({"ping": {}}).to_string();
    let requests = vec![request; rng.usize(1..200)];
    for _ in 0..20 {
        client.try_send_lines(&requests).await?;
        for _ in &requests {
            client.try_line().await?;
        }
    }
    Ok(())
}

async fn garbage(client: &mut RawClient, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let mut bytes = vec![0; rng.usize(1..20_000)];
    rng.fill(&mut bytes);
    if rng.bool() {
        client.try_send_lines(&["{\"get-stream\": null}"]).await?;
    }
    client.try_send_bytes(&bytes).await?;
    client.try_line().await.map(drop)
}

async fn huge(client: &mut RawClient, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let item = "a".repeat(rng.usize(2_000..3_000_000));
    let request = match rng.u8(..3) {
        0 => json!({"get": {"method": "oe.huge", "taskhash": item}}),
        1 => {
            json!({"report": {"method": "oe.huge", "taskhash": item, "outhash": hash(&item), "unihash": hash("huge")}})
        }
        _ => json!({"gc-mark-nothing": {"mark": item}}),
    };
    client.try_send(&request).await?;
    client.try_line().await.map(drop)
}

async fn leave(client: &mut RawClient, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let half: &[u8] = match rng.u8(..3) {
        0 => b"{\"report\": {\"method\": \"oe.half",
        1 => b"{\"chunk-stream\": null}\n{\"get\": {\"method\"",
        _ => b"{\"get-stream\": null}\noe.kept 0123",
    };
    client.try_send_bytes(half).await?;
    tokio::time::sleep(Duration::from_millis(rng.u64(..300))).await;
    Ok(())
}

async fn never_read(client: &mut RawClient, _: &mut fastrand::Rng) -> std::io::Result<()> {
    client.try_send_lines(&["{\"get-stream\": null}"]).await?;
    loop {
        let lines: Vec<String> =
            (0..500).map(|number| format!("oe.kept {}", hash(&number.to_string()))).collect();
        client.try_send_lines(&lines).await?;
    }
}

async fn idle(client: &mut RawClient, _: &mut fastrand::Rng) -> std::io::Result<()> {
    client.try_line().await.map(drop)
}

/// Asks for what is refused; a server that does not refuse it is found by the checks of what is there.
async fn ask_invalid(client: &mut RawClient, rng: &mut fastrand::Rng) -> std::io::Result<()> {
    let request = match rng.u8(..4) {
        0 => {
            json!({"report": {"method": "oe.kept", "taskhash": "T", "outhash": "O", "unihash": "${@os.system('true')}"}})
        }
        1 => json!({"no-such-command": null}),
        2 => json!({"get": {"method": 1, "taskhash": null}}),
        _ => json!({"become-user": {"username": "nobody"}}),
    };
    client.try_send(&request).await?;
    client.try_line().await.map(drop)
}
