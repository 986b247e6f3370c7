//! Points in time as hash equivalence databases write them.

use std::fmt;

use chrono::{DateTime, DurationRound, NaiveDateTime, TimeDelta, Timelike, Utc};

/// When something was reported: UTC, to the microsecond.
///
/// Its text is ISO 8601 with an offset, `2026-01-31T12:34:56.789012+00:00`, without a fraction where the
/// microseconds are zero. The order of the texts is the order in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The current time.
    #[must_use]
    pub fn now() -> Self {
        Utc::now().into()
    }

    /// Reads the forms that databases and peers hold: with `T` or a blank between date and time, with or
    /// without a fraction, with or without an offset (none means UTC). `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().replacen(' ', "T", 1);
        if let Ok(time) = DateTime::parse_from_rfc3339(&text) {
            return Some(time.to_utc().into());
        }
        NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok().map(|naive| naive.and_utc().into())
    }

    /// This time less `seconds`, or the earliest time there is.
    #[must_use]
    pub fn minus_seconds(self, seconds: f64) -> Self {
        let delta = TimeDelta::try_milliseconds((seconds * 1000.0) as i64).unwrap_or(TimeDelta::MAX);
        self.0.checked_sub_signed(delta).unwrap_or(DateTime::<Utc>::MIN_UTC).into()
    }

    /// The time for date libraries.
    #[must_use]
    pub fn as_datetime(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Drops what is finer than a microsecond.
    fn from(time: DateTime<Utc>) -> Self {
        Timestamp(time.duration_trunc(TimeDelta::microseconds(1)).unwrap_or(time))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form =
            if self.0.nanosecond() == 0 { "%Y-%m-%dT%H:%M:%S+00:00" } else { "%Y-%m-%dT%H:%M:%S%.6f+00:00" };
        write!(f, "{}", self.0.format(form))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_that_databases_hold() {
        for (text, canonical) in [
            ("2026-01-31T12:34:56.789012+00:00", "2026-01-31T12:34:56.789012+00:00"),
            ("2020-01-31 12:34:56.789012", "2020-01-31T12:34:56.789012+00:00"),
            ("2020-01-31 12:34:56", "2020-01-31T12:34:56+00:00"),
            ("2026-01-31T12:34:56+00:00", "2026-01-31T12:34:56+00:00"),
            ("2026-01-31T14:34:56.5+02:00", "2026-01-31T12:34:56.500000+00:00"),
            ("2026-01-31T12:34:56Z", "2026-01-31T12:34:56+00:00"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), canonical, "{text}");
        }
        for bad in ["", "yesterday", "2026-01-31", "2026-13-31T12:34:56"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn going_back_stops_at_the_beginning_of_time() {
        let now = Timestamp::now();
        assert_eq!(now.minus_seconds(0.0), now);
        assert_eq!((now.as_datetime() - now.minus_seconds(1.5).as_datetime()).num_milliseconds(), 1500);
        assert!(now.minus_seconds(f64::MAX) < now);
        assert!(now.minus_seconds(f64::INFINITY) < now);
    }
}
