//! `hashclient`: looks up, reports and maintains what a hash equivalence server knows.

mod cli;
mod commands;
mod conditions;
mod context;
mod duration;
mod failure;
mod global;
mod input;
mod netrc;
mod notice;
mod older_servers;
mod output;
mod progress;
mod standard_output;
mod statistics;
#[cfg(test)]
mod testing;
mod words;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue};
use hashserv_log::one_line;
use hashserv_protocol::without_credentials;
use tracing::level_filters::LevelFilter;

use crate::cli::Cli;
use crate::context::Context;
use crate::failure::Failure;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(mut answer) => {
            mask_credentials(&mut answer);
            return print_answer(&answer);
        }
    };
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from(cli.global.log))
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        // It would panic where standard error cannot be written.
        .log_internal_errors(false)
        .init();
    match run(cli) {
        Ok(code) => code,
        Err(failure) => end_with(&failure),
    }
}

/// Says what failed, and returns the exit status.
fn end_with(failure: &Failure) -> ExitCode {
    if !failure.is_closed_pipe() {
        // With standard error closed there is nobody to tell.
        let _ = writeln!(io::stderr(), "ERROR: {}", one_line(failure));
    }
    ExitCode::from(failure.status())
}

/// Masks what an address has before its `@`, which may be a password.
fn mask_credentials(answer: &mut clap::Error) {
    if let Some(ContextValue::String(value)) = answer.get(ContextKind::InvalidValue) {
        let masked = without_credentials(value);
        answer.insert(ContextKind::InvalidValue, ContextValue::String(masked));
    }
}

/// Prints the help that was asked for, or what is wrong with the command line.
fn print_answer(answer: &clap::Error) -> ExitCode {
    match answer.print().and_then(|()| io::stdout().flush()) {
        Ok(()) => ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2)),
        Err(_) if answer.use_stderr() => ExitCode::from(2),
        Err(error) => end_with(&Failure::Output(error)),
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
        let result = cli.command.run(&mut context).await;
        let flushed = context.output.flush();
        context.close().await;
        let code = result?;
        flushed?;
        Ok(code)
    });
    // A thread that waits for standard input must not keep the process alive.
    runtime.shutdown_background();
    result
}
