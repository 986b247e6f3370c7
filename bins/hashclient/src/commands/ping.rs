//! `ping`.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::statistics::{Statistics, milliseconds};

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

/// What is printed as JSON; times in seconds.
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
