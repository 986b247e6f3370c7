//! Values of options.

use std::ops::RangeInclusive;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::RangedU64ValueParser;
use hashserv_storage_sql::Synchronous;
use tracing::Level;

/// Longest time that an option may be set to.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Units of times, in seconds. Longer suffixes come first.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];

/// Least important messages to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum LogLevel {
    #[value(alias = "CRITICAL")]
    Error,
    #[value(alias = "WARN")]
    Warning,
    Info,
    Debug,
    Trace,
}

/// Events that a report survives once it counts as stored, with SQLite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum SynchronousMode {
    Normal,
    Full,
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Level::ERROR,
            LogLevel::Warning => Level::WARN,
            LogLevel::Info => Level::INFO,
            LogLevel::Debug => Level::DEBUG,
            LogLevel::Trace => Level::TRACE,
        }
    }
}

impl From<SynchronousMode> for Synchronous {
    fn from(mode: SynchronousMode) -> Self {
        match mode {
            SynchronousMode::Normal => Synchronous::Normal,
            SynchronousMode::Full => Synchronous::Full,
        }
    }
}

/// Parses a clear yes or a clear no, in any case. Anything else might be meant as either.
pub(crate) fn yes_or_no(text: &str) -> Result<bool, String> {
    match &*text.to_ascii_lowercase() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err("expected 1, true, yes or on, or 0, false, no or off".to_owned()),
    }
}

/// Returns a parser of numbers within bounds.
pub(crate) fn number(bounds: RangeInclusive<u64>) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(bounds)
}

/// Parses a time: seconds, or a number with a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected seconds, or a number with a unit (500ms, 5s, 2m, 1h), up to 24h".to_owned();
    let parsed = UNITS.iter().find_map(|(unit, seconds)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * seconds)
    });
    parsed
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= MAX_DURATION)
        .ok_or_else(expected)
}

/// Parses a time of more than 0.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, String> {
    let parsed = duration(text)?;
    if parsed.is_zero() { Err("it must be more than 0".to_owned()) } else { Ok(parsed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_have_a_unit() {
        for (text, milliseconds) in [
            ("5", 5000),
            ("5s", 5000),
            ("1.5", 1500),
            ("250ms", 250),
            ("2m", 120_000),
            ("24h", 86_400_000),
            ("86400", 86_400_000),
            ("0", 0),
            ("5 s", 5000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "x", "-1", "1e300", "inf", "NaN", "86401", "25h", "5d", "5 minutes"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(positive_duration("0s").is_err());
        assert!(positive_duration("1ms").is_ok());
    }
}
