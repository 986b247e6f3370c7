//! Empty values of options and variables.

use std::error::Error as StdError;
use std::ffi::OsStr;
use std::str::FromStr;

use clap::builder::{PathBufValueParser, StringValueParser, TypedValueParser};
use clap::{Arg, Command, Error};

/// Parses values by another parser, and the default of the argument in place of an empty value: container
/// images set variables so, and scripts pass options on.
///
/// Where there is no default, an empty value becomes that of its type and is to be dropped afterwards.
#[derive(Clone)]
pub(crate) struct OrDefault<P>(P);

/// Makes a value of a text.
type FromText<T, E> = fn(&str) -> Result<T, E>;

/// Parses a text, or takes the default.
pub(crate) fn text() -> OrDefault<StringValueParser> {
    OrDefault(StringValueParser::new())
}

/// Parses a path, or takes the default.
pub(crate) fn path() -> OrDefault<PathBufValueParser> {
    OrDefault(PathBufValueParser::new())
}

/// Parses a number, or takes the default.
pub(crate) fn number<N>() -> OrDefault<FromText<N, N::Err>>
where
    N: FromStr<Err: StdError + Send + Sync + 'static> + Default + Clone + Send + Sync + 'static,
{
    OrDefault(N::from_str)
}

impl<P> TypedValueParser for OrDefault<P>
where
    P: TypedValueParser,
    P::Value: Default,
{
    type Value = P::Value;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Self::Value, Error> {
        if !value.is_empty() {
            return self.0.parse_ref(command, argument, value);
        }
        match argument.and_then(|argument| argument.get_default_values().first()) {
            Some(default) => self.0.parse_ref(command, argument, default),
            None => Ok(P::Value::default()),
        }
    }
}
