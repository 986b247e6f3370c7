//! Driving a server for a while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::process::Process;

/// How many latencies a client has room for before its memory grows.
const LATENCIES: usize = 256 * 1024;

/// Somebody who asks and waits for the answers.
pub(crate) trait Client: Send {
    /// Asks once, and tells how many operations that was.
    fn exchange(&mut self) -> Result<u64>;
}

/// What was measured.
#[derive(Clone, Copy, Default)]
pub(crate) struct Figures {
    /// Operations a second.
    pub(crate) rate: f64,
    /// The median time of an exchange, in µs.
    pub(crate) p50: f64,
    /// What 99 % of the exchanges did not exceed, in µs.
    pub(crate) p99: f64,
    /// The processor time of the server for an operation, in µs.
    pub(crate) cpu: f64,
}

impl Figures {
    /// The median of each figure.
    pub(crate) fn median(rounds: &[Figures]) -> Figures {
        let of = |figure: fn(&Figures) -> f64| middle(rounds.iter().map(figure).collect());
        Figures { rate: of(|f| f.rate), p50: of(|f| f.p50), p99: of(|f| f.p99), cpu: of(|f| f.cpu) }
    }
}

/// The median; 0 of nothing.
pub(crate) fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Lets each client ask on a thread of its own until the time is over.
pub(crate) fn drive(clients: Vec<Box<dyn Client>>, time: Duration, process: &Process) -> Result<Figures> {
    let stop = AtomicBool::new(false);
    let (cpu, begin) = (process.cpu()?, Instant::now());
    let outcomes: Vec<Result<Outcome>> = thread::scope(|scope| {
        let running: Vec<_> =
            clients.into_iter().map(|client| scope.spawn(|| ask_until(&stop, client))).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        let failed = |_| Err("a client panicked".into());
        running.into_iter().map(|client| client.join().unwrap_or_else(failed)).collect()
    });
    let elapsed = begin.elapsed().as_secs_f64();
    let cpu = process.cpu()? - cpu;
    let (mut operations, mut latencies) = (0, Vec::new());
    for outcome in outcomes {
        let outcome = outcome?;
        operations += outcome.operations;
        latencies.extend(outcome.latencies);
    }
    latencies.sort_unstable();
    Ok(Figures {
        rate: operations as f64 / elapsed,
        p50: percentile(&latencies, 50),
        p99: percentile(&latencies, 99),
        cpu: cpu * 1e6 / operations.max(1) as f64,
    })
}

struct Outcome {
    operations: u64,
    /// Of each exchange, in ns.
    latencies: Vec<u64>,
}

fn ask_until(stop: &AtomicBool, mut client: Box<dyn Client>) -> Result<Outcome> {
    let mut outcome = Outcome { operations: 0, latencies: Vec::with_capacity(LATENCIES) };
    while !stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        outcome.operations += client.exchange()?;
        outcome.latencies.push(u64::try_from(begin.elapsed().as_nanos())?);
    }
    Ok(outcome)
}

/// In µs, of latencies in ascending order.
fn percentile(latencies: &[u64], percent: usize) -> f64 {
    let at = latencies.len().saturating_sub(1) * percent / 100;
    latencies.get(at).map_or(0.0, |nanoseconds| *nanoseconds as f64 / 1e3)
}
