//! `stress`.

use std::time::{Duration, Instant};

use clap::Args;
use hashserv_client::{Client, Report};
use indicatif::ProgressBar;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use crate::commands::report::doubt;
use crate::context::{Context, Server};
use crate::failure::Failure;
use crate::progress;
use crate::statistics::Statistics;

/// The method of all hashes that are looked up and reported.
const METHOD: &str = "stress.test.method";

/// How many requests there may be in all: the time of each takes 16 bytes.
const MAX_REQUESTS: u64 = 10_000_000;

/// Measures how fast the server answers many look-ups over many connections
///
/// Each connection looks up the SHA-256 of the seed followed by 0, 1, 2 and so on, for the method stress.test.method, one
/// at a time.
#[derive(Args, Clone, Debug)]
pub(crate) struct Stress {
    /// Number of connections
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    clients: u64,
    /// Number of look-ups on each connection
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Report each hash too, after it was looked up; the database grows
    #[arg(long)]
    report: bool,
    /// Text that the taskhashes are made from
    #[arg(long, value_name = "SEED", default_value = "")]
    taskhash_seed: String,
    /// Text that the reported outhashes are made from
    #[arg(long, value_name = "SEED", default_value = "")]
    outhash_seed: String,
}

/// What one connection measured.
#[derive(Default)]
struct Measured {
    lookups: Vec<Duration>,
    reports: Vec<Duration>,
    found: u64,
}

/// What is printed; times in seconds.
#[derive(Serialize)]
struct Figures {
    clients: u64,
    requests: usize,
    elapsed: f64,
    rate: f64,
    lookups: Statistics,
    #[serde(skip_serializing_if = "Option::is_none")]
    reports: Option<Statistics>,
    found: u64,
    missed: u64,
}

impl Stress {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let steps = self.clients.saturating_mul(self.requests).saturating_mul(1 + u64::from(self.report));
        if steps > MAX_REQUESTS {
            return Err(Failure::Usage(format!("more than {MAX_REQUESTS} requests in all")));
        }
        let bar = progress::bar(steps, "requests");
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for _ in 0..self.clients {
            tasks.spawn(self.clone().measure(context.server(), bar.clone()));
        }
        let mut all = Measured::default();
        while let Some(joined) = tasks.join_next().await {
            let measured = joined??;
            all.lookups.extend(measured.lookups);
            all.reports.extend(measured.reports);
            all.found += measured.found;
        }
        bar.finish_and_clear();
        let figures = Figures::new(self.clients, start.elapsed(), all);
        if context.json {
            context.output.json(&figures)?;
        } else {
            figures.print(context)?;
        }
        if self.report { self.check_recorded(context.connect().await?).await } else { Ok(()) }
    }

    /// Fails if the server answers reports without recording them.
    async fn check_recorded(&self, client: &mut Client) -> Result<(), Failure> {
        let (taskhash, outhash) = (hash(&self.taskhash_seed, 0), hash(&self.outhash_seed, 0));
        let reply = client.report(report(&taskhash, &outhash)).await?;
        doubt(client, &reply).await?.map_or(Ok(()), |doubt| Err(Failure::Unrecorded(doubt)))
    }

    /// Does what one connection does.
    async fn measure(self, server: Server, bar: ProgressBar) -> Result<Measured, Failure> {
        let mut client = server.connect().await?;
        let measured = self.ask(&mut client, &bar).await;
        client.close().await;
        measured
    }

    async fn ask(&self, client: &mut Client, bar: &ProgressBar) -> Result<Measured, Failure> {
        let mut measured = Measured::default();
        for number in 0..self.requests {
            let taskhash = hash(&self.taskhash_seed, number);
            let start = Instant::now();
            let found = look_up(client, &taskhash, self.report).await?;
            measured.lookups.push(start.elapsed());
            measured.found += u64::from(found);
            bar.inc(1);
            if self.report {
                let start = Instant::now();
                client.report(report(&taskhash, &hash(&self.outhash_seed, number))).await?;
                measured.reports.push(start.elapsed());
                bar.inc(1);
            }
        }
        Ok(measured)
    }
}

/// Whether the taskhash has a unihash. Without reports in between it is asked in stream mode, as builds do.
async fn look_up(client: &mut Client, taskhash: &str, singly: bool) -> Result<bool, Failure> {
    if singly {
        return Ok(client.get(METHOD, taskhash).await?.is_some());
    }
    let replies = client.get_stream().await?.unihashes(&[(METHOD, taskhash)]).await?;
    Ok(replies.iter().any(Option::is_some))
}

fn report<'a>(taskhash: &'a str, outhash: &'a str) -> Report<'a> {
    Report {
        taskhash: taskhash.into(),
        method: METHOD.into(),
        outhash: outhash.into(),
        unihash: taskhash.into(),
        ..Report::default()
    }
}

fn hash(seed: &str, number: u64) -> String {
    const_hex::encode(Sha256::digest(format!("{seed}{number}")))
}

impl Figures {
    fn new(clients: u64, elapsed: Duration, measured: Measured) -> Self {
        let lookups = Statistics::of(measured.lookups);
        let reports = Some(Statistics::of(measured.reports)).filter(|reports| reports.number > 0);
        let requests = lookups.number + reports.map_or(0, |reports| reports.number);
        let elapsed = elapsed.as_secs_f64();
        let missed = lookups.number as u64 - measured.found;
        let rate = requests as f64 / elapsed;
        Figures { clients, requests, elapsed, rate, lookups, reports, found: measured.found, missed }
    }

    fn print(&self, context: &mut Context) -> Result<(), Failure> {
        let output = &mut context.output;
        for (name, value) in [
            ("Number of clients:", self.clients.to_string()),
            ("Number of requests:", self.requests.to_string()),
            ("Elapsed:", format!("{:.3} s", self.elapsed)),
            ("Rate:", format!("{:.1} requests/s", self.rate)),
            ("Found:", self.found.to_string()),
            ("Missed:", self.missed.to_string()),
        ] {
            output.line(format_args!("{name:<21}{value}"))?;
        }
        for (title, statistics) in [("Look-ups", Some(self.lookups)), ("Reports", self.reports)] {
            let Some(statistics) = statistics else { continue };
            output.line(title)?;
            for line in statistics.lines() {
                output.line(format_args!("  {line}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;
    use crate::commands::Command;
    use crate::testing::{Answer, client};

    #[tokio::test]
    async fn reports_that_a_read_only_server_ignores_are_a_failure() {
        const READ_ONLY: Answer = |line| {
            let reply = match line.starts_with(r#"{"report":"#) {
                true => r#"{"taskhash": "t", "method": "m", "unihash": "u"}"#,
                false => r#"{"invoke-error": {"message": "This server is read-only"}}"#,
            };
            Some(reply.to_owned())
        };
        let cli = Cli::parse_from(["hashclient", "stress", "--report"]);
        let Command::Stress(stress) = cli.command else { panic!("{cli:?}") };
        let failure = stress.check_recorded(&mut client(&[READ_ONLY])).await.unwrap_err();
        assert_eq!(failure.to_string(), "the report was not recorded: This server is read-only");
    }

    #[test]
    fn hashes_are_those_of_the_seed_and_the_number() {
        assert_eq!(hash("", 1), "6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b");
        assert_eq!(hash("1", 0), hash("", 10));
    }
}
