//! The settings of a day, from the environment, and what is told of it.

use std::io::Write;
use std::time::Duration;

/// Length of a day in the normal test run.
const SHORT_DAY: Duration = Duration::from_secs(20);

/// From this length on faults may last longer than anything that waits for them.
const LONG_DAY: Duration = Duration::from_secs(120);

/// The settings of a day.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Decides about the sequence of faults and about what each client does.
    pub(crate) seed: u64,
    /// Time in which rounds of faults begin.
    pub(crate) length: Duration,
    /// Names, or parts of names, of the faults that may happen; all if there are none.
    pub(crate) faults: Vec<String>,
}

impl Settings {
    /// Reads `HASHSERV_BAD_DAY_SEED`, `HASHSERV_BAD_DAY_SECONDS` and `HASHSERV_BAD_DAY_FAULTS`.
    pub(crate) fn from_environment() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok()?;
            Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number: {text:?}")))
        };
        let faults = std::env::var("HASHSERV_BAD_DAY_FAULTS").unwrap_or_default();
        Settings {
            seed: number("HASHSERV_BAD_DAY_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
            length: number("HASHSERV_BAD_DAY_SECONDS").map_or(SHORT_DAY, Duration::from_secs),
            faults: faults
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether faults may last longer than anything that waits for them.
    pub(crate) fn is_long(&self) -> bool {
        self.length >= LONG_DAY
    }

    /// Whether a fault of this name may happen.
    pub(crate) fn allows(&self, fault: &str) -> bool {
        self.faults.is_empty() || self.faults.iter().any(|part| fault.contains(part.as_str()))
    }
}

/// Writes to the output of the test at once, so that a long day can be watched.
pub(crate) fn say(text: &str) {
    writeln!(std::io::stderr(), "bad day: {text}").expect("standard error");
}
