//! Statistics of requests: their number and their times.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashserv_protocol::reply::{RequestStats, Stats};

/// Figures of all requests since the start or a reset.
#[derive(Debug, Default)]
pub(crate) struct Statistics(Mutex<Figures>);

/// A running mean and variance (Welford), so that nothing is kept of the single requests.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    count: u64,
    total: f64,
    max: f64,
    mean: f64,
    squares: f64,
}

impl Statistics {
    /// Counts requests that were answered together; each counts with its share of the time.
    pub(crate) fn record(&self, count: usize, elapsed: Duration) {
        if count > 0 {
            self.figures().add(count as u64, elapsed.as_secs_f64() / count as f64);
        }
    }

    /// Returns the figures.
    pub(crate) fn read(&self) -> Stats {
        self.figures().to_reply()
    }

    /// Returns the figures, which start again at zero.
    pub(crate) fn reset(&self) -> Stats {
        std::mem::take(&mut *self.figures()).to_reply()
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Figures {
    /// Adds `count` requests that took `seconds` each.
    fn add(&mut self, count: u64, seconds: f64) {
        let (before, added) = (self.count as f64, count as f64);
        let delta = seconds - self.mean;
        self.count += count;
        self.total += seconds * added;
        self.max = self.max.max(seconds);
        self.mean += delta * added / (before + added);
        self.squares += delta * delta * before * added / (before + added);
    }

    fn to_reply(self) -> Stats {
        let stdev = if self.count > 1 { (self.squares / (self.count - 1) as f64).sqrt() } else { 0.0 };
        Stats {
            requests: RequestStats {
                num: self.count,
                total_time: self.total,
                max_time: self.max,
                average: self.mean,
                stdev,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_those_of_the_single_requests() {
        let statistics = Statistics::default();
        statistics.record(1, Duration::from_secs(2));
        statistics.record(3, Duration::from_secs(12));
        statistics.record(0, Duration::from_secs(100));
        let stats = statistics.read().requests;
        assert_eq!((stats.num, stats.total_time, stats.max_time, stats.average), (4, 14.0, 4.0, 3.5));
        assert!((stats.stdev - 1.0).abs() < 1e-9, "{}", stats.stdev);
    }

    #[test]
    fn a_reset_tells_the_figures_and_begins_anew() {
        let statistics = Statistics::default();
        assert_eq!(statistics.read().requests, RequestStats::default());
        statistics.record(1, Duration::from_secs(1));
        assert_eq!(statistics.reset().requests.num, 1);
        assert_eq!(statistics.read().requests, RequestStats::default());
    }
}
