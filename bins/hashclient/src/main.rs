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

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use hashserv_client::one_line;

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
            let _ = writeln!(io::stderr(), "ERROR: {}", one_line(&failure));
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
