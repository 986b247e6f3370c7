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

/// Prints a reply that has a token, which cannot be had again: a failure to print it names the user.
pub(super) fn deliver_token(
    output: &mut Output,
    username: &str,
    print: impl FnOnce(&mut Output) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match print(output).and_then(|()| output.flush()) {
        Err(Failure::Output(source)) => Err(Failure::TokenLost { username: username.to_owned(), source }),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};

    use super::*;

    struct ClosedPipe;

    impl Write for ClosedPipe {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn token_that_nobody_reads_is_a_failure() {
        let mut output = Output::to(io::BufWriter::new(ClosedPipe));
        let lost = deliver_token(&mut output, "alice", |output| print(output, "alice", None, Some("secret")));
        let failure = lost.unwrap_err();
        assert!(!failure.is_closed_pipe() && failure.status() == 1);
        let told = failure.to_string();
        assert!(told.contains("'alice'") && !told.contains("secret"), "{told}");
    }
}
