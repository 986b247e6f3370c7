//! Reports, each of which waits for its reply.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashserv_protocol::Hello;

use crate::drive::Client;
use crate::keys::{Kind, METHOD, append_hash};
use crate::server::Server;
use crate::table::{Goal, Row};
use crate::wire::Wire;
use crate::{Bench, Result};

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    synchronous: &'static str,
    connections: usize,
    goal: Option<Goal>,
}

const CASES: [Case; 6] = [
    Case { name: "report-normal-1", synchronous: "NORMAL", connections: 1, goal: None },
    Case {
        name: "report-normal-16",
        synchronous: "NORMAL",
        connections: 16,
        goal: Some(Goal::RateAtLeast(20_000.0)),
    },
    Case {
        name: "report-normal-64",
        synchronous: "NORMAL",
        connections: 64,
        goal: Some(Goal::RateAtLeast(20_000.0)),
    },
    Case { name: "report-full-1", synchronous: "FULL", connections: 1, goal: None },
    Case { name: "report-full-16", synchronous: "FULL", connections: 16, goal: None },
    Case {
        name: "report-full-64",
        synchronous: "FULL",
        connections: 64,
        goal: Some(Goal::RateAtLeast(10_000.0)),
    },
];

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    for synchronous in ["NORMAL", "FULL"] {
        let mut cases = bench.wanted(&CASES, |case| case.name);
        cases.retain(|case| case.synchronous == synchronous);
        if !cases.is_empty() {
            measure_mode(bench, synchronous, &cases)?;
        }
    }
    Ok(())
}

fn measure_mode(bench: &Bench, synchronous: &str, cases: &[Case]) -> Result<()> {
    let database = bench.copy_database(synchronous)?;
    let server = bench.serve(&database, &["--synchronous", synchronous])?;
    let next = Arc::new(AtomicU64::new(bench.arguments.rows));
    let measured = bench.in_turn(cases.len(), |case| {
        let clients = clients(&server, cases[case].connections, &next)?;
        bench.drive(clients, server.process())
    })?;
    for (case, figures) in cases.iter().zip(&measured) {
        let memory = server.process().memory()?;
        Row::new(case.name).figures(*figures).memory(memory).goal(case.goal).print();
    }
    Ok(())
}

fn clients(server: &Server, connections: usize, next: &Arc<AtomicU64>) -> Result<Vec<Box<dyn Client>>> {
    let client =
        |_| -> Result<Box<dyn Client>> { Ok(Box::new(Reporter::connect(server.socket()?, next.clone())?)) };
    (0..connections).map(client).collect()
}

struct Reporter {
    wire: Wire,
    /// The number of the next new task.
    next: Arc<AtomicU64>,
    request: Vec<u8>,
}

impl Reporter {
    fn connect(socket: &Path, next: Arc<AtomicU64>) -> Result<Self> {
        let mut wire = Wire::connect(socket)?;
        wire.send(Hello::default().encode().as_bytes())?;
        Ok(Reporter { wire, next, request: Vec::new() })
    }
}

impl Client for Reporter {
    fn exchange(&mut self) -> Result<u64> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.request.clear();
        append_report(number, &mut self.request);
        self.wire.send(&self.request)?;
        let reply = self.wire.line()?;
        if reply.starts_with(b"{\"invoke-error\"") {
            return Err(format!("a report was refused: {}", String::from_utf8_lossy(reply)).into());
        }
        Ok(1)
    }
}

/// What BitBake sends after a task, but for the text of what was hashed.
fn append_report(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"report\": {\"taskhash\": \"");
    append_hash(Kind::Taskhash, number, out);
    out.extend_from_slice(b"\", \"method\": \"");
    out.extend_from_slice(METHOD.as_bytes());
    out.extend_from_slice(b"\", \"outhash\": \"");
    append_hash(Kind::Outhash, number, out);
    out.extend_from_slice(b"\", \"unihash\": \"");
    append_hash(Kind::Unihash, number, out);
    out.extend_from_slice(b"\", \"PN\": \"glibc\", \"PV\": \"2.39\", \"PR\": \"r0\", ");
    out.extend_from_slice(b"\"task\": \"do_populate_sysroot\", \"owner\": \"builder\"}}\n");
}
