//! Checks of single values of options.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::error::StartError;

/// The longest that times may be set to, in seconds.
const MAX_SECONDS: f64 = 24.0 * 60.0 * 60.0;

/// A number of seconds within bounds.
pub(crate) fn seconds(option: &'static str, value: f64) -> Result<Duration, StartError> {
    if (0.0..=MAX_SECONDS).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(StartError::Seconds { option, most: MAX_SECONDS })
    }
}

/// A number within bounds.
pub(crate) fn within(
    option: &'static str,
    value: usize,
    bounds: RangeInclusive<usize>,
) -> Result<usize, StartError> {
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (least, most) = bounds.into_inner();
    Err(StartError::OutOfRange { option, least, most })
}
