//! Look-ups over each transport, against those over a unix socket.

use hashserv_protocol::Address;
use tokio::runtime::Runtime;

use crate::drive::Client;
use crate::keys::Numbers;
use crate::session::{Session, dialer, runtime};
use crate::table::{Goal, Row};
use crate::{Bench, Result};

const WINDOW: u64 = 256;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let wants = |name: &str| bench.arguments.wants(&case(name));
    if !["unix", "tcp", "ws", "wss"].into_iter().any(wants) {
        return Ok(());
    }
    let server = bench.serve_warm(bench.database())?;
    // The first is what the others are compared with.
    let addresses: Vec<_> = server.addresses().filter(|(name, _)| *name == "unix" || wants(name)).collect();
    let measured = bench.in_turn(addresses.len(), |contender| {
        let client = Long::connect(bench, addresses[contender].1)?;
        bench.drive(vec![Box::new(client)], server.process())
    })?;
    for ((name, _), figures) in addresses.iter().zip(&measured) {
        let ratio = (*name != "unix").then(|| figures.rate / measured[0].rate);
        let name = case(name);
        let memory = server.process().memory()?;
        Row::new(&name).figures(*figures).memory(memory).ratio(ratio).goal(goal(&name)).print();
    }
    Ok(())
}

/// The name of the case on a transport.
fn case(transport: &str) -> String {
    format!("{transport}-1x{WINDOW}")
}

fn goal(name: &str) -> Option<Goal> {
    match name.split('-').next()? {
        "ws" => Some(Goal::RatioAtLeast(0.5)),
        "wss" => Some(Goal::RatioAtLeast(0.4)),
        _ => None,
    }
}

/// One long connection.
struct Long {
    session: Session,
    numbers: Numbers,
    runtime: Runtime,
}

impl Long {
    fn connect(bench: &Bench, address: &Address) -> Result<Self> {
        let runtime = runtime()?;
        let session = runtime.block_on(Session::open(&dialer(bench), address))?;
        Ok(Long { session, numbers: Numbers::random(0, bench.arguments.rows), runtime })
    }
}

impl Client for Long {
    fn exchange(&mut self) -> Result<u64> {
        self.runtime.block_on(self.session.ask(&mut self.numbers, WINDOW))
    }
}
