//! Durations on the command line.

use std::time::Duration;

/// Units and their lengths in seconds.
const UNITS: [(&str, f64); 4] = [("", 1.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// Parses a duration such as `5`, `0.5`, `5s`, `2m` or `1h`. A number alone counts seconds.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = &text[number.len()..];
    let seconds = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .and_then(|(_, length)| Some(number.parse::<f64>().ok()? * length));
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a time such as 5, 0.5, 5s, 2m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_seconds_minutes_and_hours() {
        let seconds = |text| parse(text).map(|time| time.as_secs_f64());
        for (text, expected) in
            [("5", 5.0), ("5s", 5.0), ("0.5", 0.5), ("2m", 120.0), ("1h", 3600.0), ("0", 0.0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for bad in ["", "s", "-1", "-1s", "5x", "5 s", "nan", "inf", "1e30", "m5"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
