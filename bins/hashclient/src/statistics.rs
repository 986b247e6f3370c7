//! Figures of measured times.

use std::time::Duration;

use serde::Serialize;

/// Figures of times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Statistics {
    pub(crate) number: usize,
    pub(crate) average: f64,
    pub(crate) median: f64,
    #[serde(rename = "stdev")]
    pub(crate) standard_deviation: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Statistics {
    /// The figures of these times; all zero where there are none. The deviation is that of the whole
    /// population.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let (Some(min), Some(max)) = (times.first(), times.last()) else {
            return Statistics {
                number: 0,
                average: 0.0,
                median: 0.0,
                standard_deviation: 0.0,
                min: 0.0,
                max: 0.0,
            };
        };
        let number = times.len();
        let average = times.iter().map(Duration::as_secs_f64).sum::<f64>() / number as f64;
        let square = |time: &Duration| (time.as_secs_f64() - average).powi(2);
        let variance = times.iter().map(square).sum::<f64>() / number as f64;
        let middle = (times[(number - 1) / 2] + times[number / 2]) / 2;
        Statistics {
            number,
            average,
            median: middle.as_secs_f64(),
            standard_deviation: variance.sqrt(),
            min: min.as_secs_f64(),
            max: max.as_secs_f64(),
        }
    }

    /// The figures as lines, in milliseconds.
    pub(crate) fn lines(&self) -> [String; 5] {
        [
            ("Average", self.average),
            ("Median", self.median),
            ("Std dev", self.standard_deviation),
            ("Min", self.min),
            ("Max", self.max),
        ]
        .map(|(name, seconds)| format!("{:<21}{}", format!("{name}:"), milliseconds(seconds)))
    }
}

/// A time for people.
pub(crate) fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: &[u64]) -> Statistics {
        Statistics::of(times.iter().map(|seconds| Duration::from_secs(*seconds)).collect())
    }

    #[test]
    fn figures_are_right() {
        let figures = of(&[4, 2, 9, 5, 4, 4, 7, 5]);
        let expected =
            Statistics { number: 8, average: 5.0, median: 4.5, standard_deviation: 2.0, min: 2.0, max: 9.0 };
        assert_eq!(figures, expected);
        assert_eq!(of(&[3, 1, 2]).median, 2.0);
        assert_eq!(of(&[7]).standard_deviation, 0.0);
        assert_eq!(of(&[]).number, 0);
    }

    #[test]
    fn times_are_printed_in_milliseconds() {
        let [average, ..] = of(&[1, 2]).lines();
        assert_eq!(average, "Average:             1500.000 ms");
    }
}
