//! Marking what garbage collection is to keep.

use std::io::Write;
use std::path::Path;

use crate::drive::Client;
use crate::keys::{Kind, append_hash};
use crate::table::{Goal, Row};
use crate::wire::Wire;
use crate::{Bench, Result};

const CASE: &str = "gc-mark-1x256";

/// How many lines are under way.
const WINDOW: u64 = 256;

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    if !bench.arguments.wants(CASE) {
        return Ok(());
    }
    let database = bench.copy_database("marks")?;
    let server = bench.serve(&database, &[])?;
    let mut next = 0;
    let measured = bench.in_turn(1, |_| {
        // A new round collects anew, and marks what the last one has marked.
        next += 1;
        let marker = Marker::connect(server.socket()?, bench.arguments.rows, next)?;
        bench.drive(vec![Box::new(marker)], server.process())
    })?;
    let memory = server.process().memory()?;
    let goal = Some(Goal::RateAtLeast(200_000.0));
    Row::new(CASE).figures(measured[0]).memory(memory).goal(goal).print();
    Ok(())
}

/// Marks one unihash after the other, each once in a collection.
struct Marker {
    wire: Wire,
    rows: u64,
    round: u64,
    marked: u64,
    request: Vec<u8>,
}

impl Marker {
    fn connect(socket: &Path, rows: u64, round: u64) -> Result<Self> {
        let wire = Wire::stream_mode(socket, "gc-mark-stream")?;
        Ok(Marker { wire, rows, round, marked: 0, request: Vec::new() })
    }
}

impl Client for Marker {
    fn exchange(&mut self) -> Result<u64> {
        self.request.clear();
        for number in self.marked..self.marked + WINDOW {
            let collection = number / self.rows;
            write!(
                self.request,
                "{{\"mark\": \"load-{}-{collection}\", \"where\": {{\"unihash\": \"",
                self.round
            )?;
            append_hash(Kind::Unihash, number % self.rows, &mut self.request);
            self.request.extend_from_slice(b"\"}}\n");
        }
        self.marked += WINDOW;
        self.wire.send(&self.request)?;
        for _ in 0..WINDOW {
            let reply = self.wire.line()?;
            if reply != b"{\"count\":1}" {
                return Err(format!("not one unihash was marked: {}", String::from_utf8_lossy(reply)).into());
            }
        }
        Ok(WINDOW)
    }
}
