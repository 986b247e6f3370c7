//! What a large database costs.

use std::path::{Path, PathBuf};

use crate::database::fill;
use crate::drive::{Figures, middle};
use crate::keys::Numbers;
use crate::server::Server;
use crate::table::{Goal, Row, grouped};
use crate::wire::{Lookups, Query};
use crate::{Bench, Result};

/// The database that others are compared with.
const SMALL: u64 = 10_000;

/// What builds ask for most of the time.
const HOT: u64 = 100_000;

const WINDOW: u64 = 256;

const CASES: [&str; 2] = ["growth-uniform", "growth-hot"];
const START: &str = "start";

pub(crate) fn measure(bench: &Bench) -> Result<()> {
    let cases = bench.wanted(&CASES, |name| name);
    let starts = bench.arguments.wants(START);
    if cases.is_empty() && !starts {
        return Ok(());
    }
    let large = large_database(bench)?;
    if !cases.is_empty() {
        compare(bench, &cases, &large)?;
    }
    if starts {
        measure_start(bench, &large)?;
    }
    Ok(())
}

fn large_database(bench: &Bench) -> Result<PathBuf> {
    let rows = bench.arguments.growth_rows;
    if rows == bench.arguments.rows {
        return Ok(bench.database().to_owned());
    }
    let path = bench.files().join("large.db");
    fill(&path, rows, 0)?;
    Ok(path)
}

fn compare(bench: &Bench, cases: &[&'static str], large: &Path) -> Result<()> {
    let rows = bench.arguments.growth_rows;
    let path = bench.files().join("small.db");
    fill(&path, SMALL, 0)?;
    let (small, large) = (bench.serve_warm(&path)?, bench.serve_warm(large)?);
    let mut contenders = vec![("growth-base", &small, SMALL)];
    for case in cases {
        contenders.push((*case, &large, if *case == CASES[0] { rows } else { HOT.min(rows) }));
    }
    let measured = bench.in_turn(contenders.len(), |contender| {
        let (_, server, keys) = contenders[contender];
        lookups(bench, server, keys)
    })?;
    for ((name, server, keys), figures) in contenders.iter().zip(&measured) {
        let ratio = (*name != "growth-base").then(|| figures.cpu / measured[0].cpu);
        let name = format!("{name} {}", grouped(*keys as f64, 0));
        let memory = server.process().memory()?;
        Row::new(&name).figures(*figures).memory(memory).ratio(ratio).goal(goal(&name)).print();
    }
    Ok(())
}

fn goal(name: &str) -> Option<Goal> {
    match name.split(' ').next()? {
        "growth-uniform" => Some(Goal::RatioAtMost(2.0)),
        "growth-hot" => Some(Goal::RatioAtMost(1.2)),
        _ => None,
    }
}

fn lookups(bench: &Bench, server: &Server, keys: u64) -> Result<Figures> {
    let client = Lookups::connect(server.socket()?, Query::Get, WINDOW, Numbers::random(0, keys))?;
    bench.drive(vec![Box::new(client)], server.process())
}

fn measure_start(bench: &Bench, database: &Path) -> Result<()> {
    let once = |_| Ok(bench.serve(database, &[])?.started_in().as_secs_f64() * 1e6);
    let times: Vec<f64> = (0..2 * bench.arguments.rounds + 1).map(once).collect::<Result<_>>()?;
    let figures = Figures { p50: middle(times), ..Figures::default() };
    let name = format!("{START} {}", grouped(bench.arguments.growth_rows as f64, 0));
    Row::new(name).figures(figures).goal(Some(Goal::MedianAtMost(100_000.0))).print();
    Ok(())
}
