//! `hashclient`: looks up, reports and maintains what a hash equivalence server knows.

mod cli;
mod commands;
mod conditions;
mod context;
mod failure;
mod input;
mod netrc;
mod output;
mod progress;
mod statistics;
#[cfg(test)]
mod testing;
mod words;

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_max_level(cli.global.log.0)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    match run(cli) {
        Ok(code) => code,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            // With standard error closed there is nobody to tell.
            let _ = writeln!(io::stderr(), "ERROR: {}", chain(&failure));
            ExitCode::from(failure.status())
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let result = runtime.block_on(async {
        let mut context = Context::new(cli.global)?;
        let code = cli.command.run(&mut context).await?;
        context.output.flush()?;
        Ok(code)
    });
    // A thread that waits for standard input must not keep the process alive.
    runtime.shutdown_background();
    result
}

/// An error and its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Some libraries repeat the source in the text.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_chain_is_one_line_that_repeats_nothing() {
        let inner = Failure::Input(io::Error::other("a\nb"));
        let repeating = io::Error::other(inner);
        assert_eq!(
            chain(&Failure::Output(repeating)),
            "cannot write to standard output: cannot read standard input: a b"
        );
        #[derive(Debug, thiserror::Error)]
        #[error("outer: {0}")]
        struct Repeats(#[source] io::Error);
        assert_eq!(chain(&Repeats(io::Error::other("cause"))), "outer: cause");
    }
}
