//! Words of the command line and variables of the environment, before they are parsed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, Error};
use hashserv_protocol::without_credentials;

/// Id of the option whose empty value is no default.
const PERMISSIONS: &str = "anon_perms";

/// Leaves options and variables with an empty value out, so that the default counts: container images set
/// variables so, and scripts pass options on. An empty option also wins over its variable.
///
/// An empty list of permissions stays, because it means no permission.
pub(crate) fn without_empty_values(
    command: Command,
    words: impl IntoIterator<Item = OsString>,
) -> (Command, Vec<OsString>) {
    let mut command =
        command.mut_args(|argument| if is_variable_empty(&argument) { argument.env(None) } else { argument });
    let mut kept = Vec::new();
    let mut words = words.into_iter().peekable();
    kept.extend(words.next());
    while let Some(word) = words.next() {
        let has_empty_word = words.peek().is_some_and(|next| next.is_empty());
        let Some(id) = emptied(&command, &word, has_empty_word) else {
            kept.push(word);
            continue;
        };
        words.next_if(|next| !word.as_bytes().ends_with(b"=") && next.is_empty());
        command = command.mut_arg(id, |argument| argument.env(None));
    }
    (command, kept)
}

/// Returns the addresses of a variable that holds several, as options.
pub(crate) fn options_of_list(option: &str, variable: &str) -> Vec<OsString> {
    let items = variable.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| format!("{option}={item}").into()).collect()
}

/// Adds the name of the variable to an error about its value, which names the option alone. The words are those of
/// the command line, where the option would win.
pub(crate) fn name_variable(mut error: Error, command: &Command, words: &[OsString]) -> Error {
    if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8)
    {
        return error;
    }
    let Some(ContextValue::String(named)) = error.get(ContextKind::InvalidArg) else { return error };
    let named = named.split([' ', '=']).next().unwrap_or_default();
    let Some(argument) = command.get_arguments().find(|argument| is_named(argument, named)) else {
        return error;
    };
    let is_given = words.iter().skip(1).any(|word| gives(argument, word));
    if let Some(variable) = argument.get_env().filter(|variable| !is_given && env::var_os(variable).is_some())
    {
        let tip = format!("the value is that of the variable {}", variable.display());
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// Masks the credentials of a value that the error repeats: an address may hold a password.
pub(crate) fn mask_value(mut error: Error) -> Error {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue) {
        let masked = without_credentials(value);
        error.insert(ContextKind::InvalidValue, ContextValue::String(masked));
    }
    error
}

/// Returns whether the word gives the option, perhaps with its value.
fn gives(argument: &Arg, word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    match text.starts_with("--") {
        true => is_named(argument, text.split('=').next().unwrap_or_default()),
        false => argument.get_short().is_some_and(|short| text.starts_with(&format!("-{short}"))),
    }
}

fn is_variable_empty(argument: &Arg) -> bool {
    let value = argument.get_env().and_then(env::var_os);
    argument.get_id() != PERMISSIONS && value.is_some_and(|value| value.is_empty())
}

/// Returns the option that the word gives an empty value, if it does.
fn emptied(command: &Command, word: &OsStr, has_empty_word: bool) -> Option<String> {
    let text = word.to_str()?;
    let name = match text.strip_suffix('=') {
        Some(name) => name,
        None if has_empty_word => text,
        None => return None,
    };
    let argument = command.get_arguments().find(|argument| is_named(argument, name))?;
    let is_dropped = argument.get_action().takes_values() && argument.get_id() != PERMISSIONS;
    is_dropped.then(|| argument.get_id().to_string())
}

fn is_named(argument: &Arg, name: &str) -> bool {
    match name.strip_prefix("--") {
        Some(long) => argument.get_long() == Some(long),
        None => argument.get_short().is_some_and(|short| name == format!("-{short}")),
    }
}
