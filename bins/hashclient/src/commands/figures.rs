//! Figures of the server and its database: `stats`, `ping`, `get-db-usage`, `get-db-query-columns`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::table;
use crate::statistics::{Statistics, milliseconds};

/// Prints figures of the requests that the server has answered, as JSON
///
/// Times are in seconds.
#[derive(Args, Debug)]
pub(crate) struct Stats {
    /// Begin anew afterwards
    #[arg(long)]
    reset: bool,
}

impl Stats {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let stats = if self.reset { client.reset_stats().await? } else { client.stats().await? };
        context.output.json(&stats)
    }
}

/// Measures how long the server takes to answer
#[derive(Args, Debug)]
pub(crate) struct Ping {
    /// How often to ask
    #[arg(short = 'n', long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Print the figures alone
    #[arg(short, long)]
    quiet: bool,
}

/// Figures as they are printed in JSON; times in seconds.
#[derive(Serialize)]
struct Figures {
    #[serde(flatten)]
    statistics: Statistics,
    times: Vec<f64>,
}

impl Ping {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.link.connect().await?;
        let mut times = Vec::new();
        for number in 1..=self.count {
            let start = Instant::now();
            client.ping().await?;
            let time = start.elapsed();
            times.push(time);
            if !self.quiet && !context.json {
                let shown = milliseconds(time.as_secs_f64());
                context.output.line(format_args!("Ping {number}: {shown}"))?;
                context.output.flush()?;
            }
        }
        print(context, times)
    }
}

fn print(context: &mut Context, times: Vec<Duration>) -> Result<(), Failure> {
    let statistics = Statistics::of(times.clone());
    if context.json {
        let times = times.iter().map(Duration::as_secs_f64).collect();
        return context.output.json(&Figures { statistics, times });
    }
    context.output.line(format_args!("{:<21}{}", "Number of pings:", statistics.number))?;
    statistics.lines().iter().try_for_each(|line| context.output.line(line))
}

/// Prints how many rows each table has
#[derive(Args, Debug)]
pub(crate) struct GetDbUsage {}

impl GetDbUsage {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let usage = client.db_usage().await?;
        if context.json {
            let usage: BTreeMap<_, _> =
                usage.into_iter().map(|(name, rows)| (name, json!({ "rows": rows }))).collect();
            return context.output.json(&json!({ "usage": usage }));
        }
        let total: u64 = usage.values().sum();
        let mut rows: Vec<_> = usage.into_iter().map(|(name, rows)| [name, rows.to_string()]).collect();
        rows.push(["Total".to_owned(), total.to_string()]);
        context.output.line(table(["Table", "Rows"], rows, true))
    }
}

/// Prints the columns that --where may name, one a line
#[derive(Args, Debug)]
pub(crate) struct GetDbQueryColumns {}

impl GetDbQueryColumns {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let mut columns = client.db_query_columns().await?;
        columns.sort_unstable();
        if context.json {
            return context.output.json(&json!({ "columns": columns }));
        }
        columns.iter().try_for_each(|column| context.output.line(column))
    }
}
