//! Points in time as hash equivalence databases write them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Timelike, Utc};

/// 0001-01-01T00:00:00, in microseconds since 1970: no date library of Python goes farther back.
const EARLIEST: i64 = -62_135_596_800_000_000;

/// 9999-12-31T23:59:59.999999. Later years have more digits, and their texts come before those of earlier ones.
const LATEST: i64 = 253_402_300_799_999_999;

/// The fraction of a second in which the microseconds are all nines.
const LAST_MICROSECOND: u32 = 999_999_000;

/// When something was reported: UTC, to the microsecond.
///
/// Its text is ISO 8601 with an offset, `2026-01-31T12:34:56.789012+00:00`, without a fraction where the
/// microseconds are zero. The order of the texts is the order in time, because times before the year 1 are taken
/// as its beginning, and those after the year 9999 as its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(DateTime<Utc>);

impl Timestamp {
    /// The current time, as the clock of this machine has it.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// The nearest time that is so many microseconds after (or before) the beginning of 1970.
    fn of_microseconds(microseconds: i64) -> Self {
        let clamped = microseconds.clamp(EARLIEST, LATEST);
        Timestamp(DateTime::from_timestamp_micros(clamped).unwrap_or_default())
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

impl From<SystemTime> for Timestamp {
    /// Drops what is finer than a microsecond.
    fn from(time: SystemTime) -> Self {
        // The conversion of the date library panics on times that it cannot hold.
        let microseconds = match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(LATEST),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(EARLIEST, |before| -before),
        };
        Timestamp::of_microseconds(microseconds)
    }
}

impl From<DateTime<Utc>> for Timestamp {
    /// Drops what is finer than a microsecond. A leap second counts as the end of the second before it, since
    /// other programs on the database cannot read its text.
    fn from(time: DateTime<Utc>) -> Self {
        let is_leap_second = time.nanosecond() >= 1_000_000_000;
        let time = if is_leap_second { time.with_nanosecond(LAST_MICROSECOND).unwrap_or(time) } else { time };
        Timestamp::of_microseconds(time.timestamp_micros())
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
    use std::time::Duration;

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
    fn texts_sort_as_times_do_whatever_the_clock_says() {
        let second = Duration::from_secs(1);
        let year = second * 31_556_952;
        let clocks = [
            UNIX_EPOCH - year * 100_000,
            UNIX_EPOCH - year * 1500,
            UNIX_EPOCH - second,
            UNIX_EPOCH - Duration::from_nanos(1500),
            UNIX_EPOCH,
            UNIX_EPOCH + year * 56,
            UNIX_EPOCH + year * 7000,
            UNIX_EPOCH + year * 9000,
            UNIX_EPOCH + year * 1_000_000,
        ];
        let times = clocks.map(Timestamp::from);
        assert!(times.is_sorted());
        let texts = times.map(|time| time.to_string());
        assert!(texts.is_sorted(), "{texts:?}");
        for (time, text) in times.iter().zip(&texts) {
            assert_eq!(Timestamp::parse(text), Some(*time));
        }
        assert_eq!(texts[0], "0001-01-01T00:00:00+00:00");
        assert_eq!(texts[2], "1969-12-31T23:59:59+00:00");
        assert_eq!(texts[8], "9999-12-31T23:59:59.999999+00:00");
    }

    #[test]
    fn times_of_others_are_taken_as_ones_that_sort() {
        for (text, canonical) in [
            ("+12000-01-01T00:00:00", "9999-12-31T23:59:59.999999+00:00"),
            ("-0044-03-15T12:00:00", "0001-01-01T00:00:00+00:00"),
            ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+00:00"),
            ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999+00:00"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999+00:00"),
            ("2016-12-31 23:59:60.5", "2016-12-31T23:59:59.999999+00:00"),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), canonical, "{text}");
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
