//! The options of the benchmark.

use std::path::PathBuf;
use std::time::Duration;

use crate::Result;

const USAGE: &str = "\
usage: cargo bench -p hashserv-server --bench fairness [-- OPTION...]
  --clients N        clients that flood the server [200]
  --seconds S        time of each flood [4]
  --only FLOOD       one flood alone
  --server PATH      the program to measure [target/release/hashserv, which must have been built]";

/// The options of the benchmark.
pub(crate) struct Arguments {
    pub(crate) clients: usize,
    pub(crate) time: Duration,
    pub(crate) only: Option<String>,
    pub(crate) server: PathBuf,
}

impl Arguments {
    pub(crate) fn parse() -> Result<Self> {
        // TARGET/release/deps/fairness-…
        let own = std::env::current_exe()?;
        let release = own.ancestors().nth(2).ok_or("the benchmark lies in no target directory")?;
        let mut parsed = Arguments {
            clients: 200,
            time: Duration::from_secs(4),
            only: None,
            server: release.join("hashserv"),
        };
        // Cargo adds `--bench`.
        let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or(USAGE)?;
            match name.as_str() {
                "--clients" => parsed.clients = value.parse()?,
                "--seconds" => parsed.time = Duration::try_from_secs_f64(value.parse()?)?,
                "--only" => parsed.only = Some(value),
                "--server" => parsed.server = value.into(),
                _ => return Err(USAGE.into()),
            }
        }
        Ok(parsed)
    }
}
