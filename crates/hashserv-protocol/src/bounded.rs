//! Bounds of what enters queues that callers share, checked where arguments are read.
//!
//! Each function reads one field, which it names where the text is too long.

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use crate::{MAX_DETAIL, MAX_KEY, MAX_TOKEN, Secret, Text};

/// Defines functions that read a field of at most so many bytes.
macro_rules! fields {
    ($($field:ident: $max:expr;)*) => {$(
        pub(crate) fn $field<'de: 'a, 'a, D: Deserializer<'de>>(reader: D) -> Result<Text<'a>, D::Error> {
            check(Text::deserialize(reader)?, stringify!($field), $max)
        }
    )*};
}

/// The same for fields that may be missing.
macro_rules! optional_fields {
    ($($function:ident, $field:literal: $max:expr;)*) => {$(
        pub(crate) fn $function<'de: 'a, 'a, D: Deserializer<'de>>(
            reader: D,
        ) -> Result<Option<Text<'a>>, D::Error> {
            let text = Option::<Text<'a>>::deserialize(reader)?;
            text.map(|text| check(text, $field, $max)).transpose()
        }
    )*};
}

fields! {
    method: MAX_KEY;
    taskhash: MAX_KEY;
    outhash: MAX_KEY;
    unihash: MAX_KEY;
    mark: MAX_KEY;
    username: MAX_KEY;
}

optional_fields! {
    optional_username, "username": MAX_KEY;
    owner, "owner": MAX_DETAIL;
    pn, "PN": MAX_DETAIL;
    pv, "PV": MAX_DETAIL;
    pr, "PR": MAX_DETAIL;
    task, "task": MAX_DETAIL;
}

pub(crate) fn token<'de: 'a, 'a, D: Deserializer<'de>>(reader: D) -> Result<Secret<Text<'a>>, D::Error> {
    check(Text::deserialize(reader)?, "token", MAX_TOKEN).map(Secret::from)
}

fn check<'a, E: Error>(text: Text<'a>, field: &str, max: usize) -> Result<Text<'a>, E> {
    if text.len() > max {
        return Err(E::custom(format_args!("{field} is longer than {max} bytes")));
    }
    Ok(text)
}
