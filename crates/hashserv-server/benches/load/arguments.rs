//! What is to be measured.

use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::Result;

const USAGE: &str = "\
usage: cargo bench -p hashserv-server --bench load [-- OPTION...]
  --rows N           tasks in the database [200000]
  --growth-rows N    tasks in the database of the growth and start cases [as --rows]
  --seconds S        how long each case runs in each round [4]
  --rounds N         of which the medians are taken [3]
  --only CASE,CASE   cases of the first column, or the beginnings of several (get, report, churn)
  --under COMMAND    what starts the server, and becomes it: 'systemd-run --scope -p CPUQuota=25%'; Redis has all
  --quick            20,000 rows, one round of half a second: whether it works, no figures to quote";

/// What is to be measured, and how.
pub(crate) struct Arguments {
    pub(crate) rows: u64,
    pub(crate) growth_rows: u64,
    pub(crate) time: Duration,
    pub(crate) rounds: usize,
    only: Vec<String>,
    /// A command and its arguments, to which the server and its are appended.
    under: Vec<String>,
}

impl Arguments {
    pub(crate) fn parse() -> Result<Self> {
        let mut parsed = Arguments {
            rows: 200_000,
            growth_rows: 0,
            time: Duration::from_secs(4),
            rounds: 3,
            only: Vec::new(),
            under: Vec::new(),
        };
        // Cargo adds `--bench`.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            if name == "--quick" {
                (parsed.rows, parsed.rounds, parsed.time) = (20_000, 1, Duration::from_millis(500));
                continue;
            }
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--rows" => parsed.rows = at_least_one(&value)?,
                "--growth-rows" => parsed.growth_rows = at_least_one(&value)?,
                "--seconds" => parsed.time = Duration::try_from_secs_f64(number(&value)?)?,
                "--rounds" => parsed.rounds = at_least_one(&value)?,
                "--only" => parsed.only = value.split(',').map(str::to_owned).collect(),
                "--under" => parsed.under = value.split_whitespace().map(str::to_owned).collect(),
                _ => return Err(USAGE.into()),
            }
        }
        if parsed.growth_rows == 0 {
            parsed.growth_rows = parsed.rows;
        }
        Ok(parsed)
    }

    /// What starts the server.
    pub(crate) fn command(&self, server: &Path) -> Command {
        let Some((program, arguments)) = self.under.split_first() else { return Command::new(server) };
        let mut command = Command::new(program);
        command.args(arguments).arg(server);
        command
    }

    /// Whether a case is to be measured.
    pub(crate) fn wants(&self, case: &str) -> bool {
        let is_meant = |only: &String| {
            case.strip_prefix(only).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        self.only.is_empty() || self.only.iter().any(is_meant)
    }
}

fn number<T: FromStr>(text: &str) -> Result<T> {
    text.parse().map_err(|_| format!("{text:?} is not a number\n{USAGE}").into())
}

fn at_least_one<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T> {
    let value = number(text)?;
    if value < T::from(1) { Err(format!("at least 1 is needed\n{USAGE}").into()) } else { Ok(value) }
}
