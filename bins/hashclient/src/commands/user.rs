//! Printing users.

use crate::failure::Failure;
use crate::output::Output;

/// Prints what is known of a user.
pub(super) fn print(
    output: &mut Output,
    username: &str,
    permissions: Option<&[String]>,
    token: Option<&str>,
) -> Result<(), Failure> {
    output.line(format_args!("Username:    {username}"))?;
    if let Some(permissions) = permissions {
        output.line(format!("Permissions: {}", permissions.join(" ")).trim_end())?;
    }
    if let Some(token) = token {
        output.line(format_args!("Token:       {token}"))?;
    }
    Ok(())
}
