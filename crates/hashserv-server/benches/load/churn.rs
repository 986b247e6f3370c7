//! Clients that connect, look one hash up and go: so does every task of a build.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hashserv_protocol::Address;
use hashserv_transport::{DialOptions, Dialer};
use tokio::runtime::Runtime;

use crate::drive::Client;
use crate::keys::Numbers;
use crate::server::Server;
use crate::session::{Session, dialer, runtime};
use crate::table::{Goal, Row};
use crate::wire::{Lookups, Query, Wire, expect_ok, greeting};
use crate::{Bench, Result};

/// How many clients come and go side by side.
const CLIENTS: u64 = 4;

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Unix,
    /// The client comes back with what it remembers of its TLS session.
    Resumed,
    /// The client is a new one each time.
    Full,
}

const CASES: [(&str, Way); 3] =
    [("churn-unix", Way::Unix), ("churn-wss-resumed", Way::Resumed), ("churn-wss-full", Way::Full)];

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let cases = bench.wanted(&CASES, |(name, _)| name);
    if cases.is_empty() {
        return Ok(());
    }
    // The log would have a line for every client, and building it is not what is measured.
    let server = bench.serve(bench.database(), &[])?;
    ask_all(bench, &server)?;
    let measured = bench.in_turn(cases.len(), |case| {
        let clients = (0..CLIENTS).map(|seed| client(bench, &server, cases[case].1, seed));
        bench.drive(clients.collect::<Result<_>>()?, server.process())
    })?;
    for ((name, way), figures) in cases.iter().zip(&measured) {
        let goal = (*way == Way::Unix).then_some(Goal::RateAtLeast(20_000.0));
        Row::new(*name).figures(*figures).memory(server.process().memory()?).goal(goal).print();
    }
    Ok(())
}

/// So that all is in memory.
fn ask_all(bench: &Bench, server: &Server) -> Result<()> {
    let rows = bench.arguments.rows;
    let mut client = Lookups::connect(server.socket()?, Query::Get, 256, Numbers::in_turn(rows))?;
    let mut asked = 0;
    while asked < rows {
        asked += client.exchange()?;
    }
    Ok(())
}

fn client(bench: &Bench, server: &Server, way: Way, seed: u64) -> Result<Box<dyn Client>> {
    let numbers = Numbers::random(seed, bench.arguments.rows);
    if way == Way::Unix {
        return Ok(Box::new(Unix::new(server.socket()?, numbers)?));
    }
    let (_, address) = server.addresses().last().ok_or("the server has no address")?;
    let certificate = bench.files().join("hashserv-cert.pem");
    let dialer = dialer(bench);
    let fresh = (way == Way::Full).then_some(certificate);
    Ok(Box::new(Secure { address: address.clone(), dialer, fresh, numbers, runtime: runtime()? }))
}

struct Unix {
    socket: PathBuf,
    wire: Wire,
    greeting: String,
    numbers: Numbers,
    request: Vec<u8>,
}

impl Unix {
    fn new(socket: &Path, numbers: Numbers) -> Result<Self> {
        let (wire, greeting) = (Wire::connect(socket)?, greeting("get-stream"));
        Ok(Unix { socket: socket.to_owned(), wire, greeting, numbers, request: Vec::new() })
    }
}

impl Client for Unix {
    fn exchange(&mut self) -> Result<u64> {
        self.wire.reconnect(&self.socket)?;
        self.request.clear();
        self.request.extend_from_slice(self.greeting.as_bytes());
        Query::Get.append(self.numbers.next(), &mut self.request);
        self.wire.send(&self.request)?;
        expect_ok(self.wire.line()?)?;
        Query::Get.expect_hit(&mut self.wire)?;
        Ok(1)
    }
}

struct Secure {
    address: Address,
    dialer: Arc<Dialer>,
    /// The certificate to trust, for a client that is a new one each time.
    fresh: Option<PathBuf>,
    numbers: Numbers,
    runtime: Runtime,
}

impl Client for Secure {
    fn exchange(&mut self) -> Result<u64> {
        if let Some(certificate) = &self.fresh {
            let options = DialOptions { tls_ca: Some(certificate.clone()), ..DialOptions::default() };
            self.dialer = Arc::new(Dialer::new(options));
        }
        self.runtime.block_on(async {
            let mut session = Session::open(&self.dialer, &self.address).await?;
            session.ask(&mut self.numbers, 1).await
        })
    }
}
