//! Look-ups from memory, against Redis.

use std::path::Path;

use crate::drive::{Client, Figures};
use crate::keys::Numbers;
use crate::redis::Redis;
use crate::server::Server;
use crate::table::{Goal, Row};
use crate::wire::{Lookups, Query};
use crate::{Bench, Result};

#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    query: Query,
    connections: u64,
    window: u64,
    goal: Option<Goal>,
}

const CASES: [Case; 6] = [
    Case {
        name: "get-1x1",
        query: Query::Get,
        connections: 1,
        window: 1,
        goal: Some(Goal::RatioAtMost(1.0)),
    },
    Case { name: "get-1x16", query: Query::Get, connections: 1, window: 16, goal: None },
    Case {
        name: "get-1x256",
        query: Query::Get,
        connections: 1,
        window: 256,
        goal: Some(Goal::RatioAtLeast(1.0)),
    },
    Case { name: "get-4x256", query: Query::Get, connections: 4, window: 256, goal: None },
    Case { name: "get-16x1", query: Query::Get, connections: 16, window: 1, goal: None },
    Case {
        name: "exists-1x256",
        query: Query::Exists,
        connections: 1,
        window: 256,
        goal: Some(Goal::RatioAtLeast(0.8)),
    },
];

const MEMORY: &str = "memory";

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let cases = bench.wanted(&CASES, |case| case.name);
    if cases.is_empty() && !bench.arguments.wants(MEMORY) {
        return Ok(());
    }
    let server = bench.serve_warm(bench.database())?;
    let redis = Redis::start(bench.socket(), bench.arguments.rows)?;
    for case in cases {
        compare(bench, case, &server, redis.as_ref())?;
    }
    if bench.arguments.wants(MEMORY) {
        compare_memory(&server, redis.as_ref())?;
    }
    Ok(())
}

fn compare(bench: &Bench, case: Case, server: &Server, redis: Option<&Redis>) -> Result<()> {
    let contenders = 1 + usize::from(redis.is_some());
    let measured = bench.in_turn(contenders, |contender| match redis {
        Some(redis) if contender == 1 => {
            bench.drive(clients(bench, case, redis.socket(), Query::RedisGet)?, redis.process())
        }
        _ => bench.drive(clients(bench, case, server.socket()?, case.query)?, server.process()),
    })?;
    let ratio = measured.get(1).map(|yardstick| ratio(case, measured[0], *yardstick));
    let memory = server.process().memory()?;
    Row::new(case.name).figures(measured[0]).memory(memory).ratio(ratio).goal(case.goal).print();
    if let (Some(yardstick), Some(redis)) = (measured.get(1), redis) {
        let memory = redis.process().memory()?;
        Row::new("    Redis GET").figures(*yardstick).memory(memory).print();
    }
    Ok(())
}

/// Without batches it is the time that counts, with them the rate.
fn ratio(case: Case, ours: Figures, yardstick: Figures) -> f64 {
    if case.window == 1 { ours.p50 / yardstick.p50 } else { ours.rate / yardstick.rate }
}

fn clients(bench: &Bench, case: Case, socket: &Path, query: Query) -> Result<Vec<Box<dyn Client>>> {
    let client = |seed| -> Result<Box<dyn Client>> {
        let numbers = Numbers::random(seed, bench.arguments.rows);
        Ok(Box::new(Lookups::connect(socket, query, case.window, numbers)?))
    };
    (0..case.connections).map(client).collect()
}

fn compare_memory(server: &Server, redis: Option<&Redis>) -> Result<()> {
    let ours = server.process().memory()?;
    let yardstick = redis.map(|redis| redis.process().memory()).transpose()?;
    let ratio = yardstick.map(|yardstick| ours / yardstick);
    Row::new(MEMORY).memory(ours).ratio(ratio).goal(Some(Goal::RatioAtMost(0.7))).print();
    if let Some(yardstick) = yardstick {
        Row::new("    Redis").memory(yardstick).print();
    }
    Ok(())
}
