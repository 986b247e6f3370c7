//! The hash equivalence server: arguments, wiring, exit codes.
#![expect(clippy::print_stderr, reason = "the terminal is where a program speaks")]

mod arguments;
mod config;
mod error;
mod logging;
mod memory;
mod open_files;
mod serve;
mod signals;
mod tls;
mod upstream;
mod value;

use std::process::ExitCode;

use hashserv_server::one_line;

use crate::arguments::Arguments;
use crate::config::Config;
use crate::error::StartError;

/// 0 after a stop that was asked for, 1 where the server cannot start or has lost its database; clap exits with 2 where the command line
/// makes no sense.
fn main() -> ExitCode {
    match Arguments::read().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hashserv: {}", one_line(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), StartError> {
    let config = Config::resolve(arguments)?;
    logging::start(config.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "start the worker threads", source })?;
    let served = runtime.block_on(serve::serve(config));
    // A thread that waits for the system, for the address of an upstream's host say, must not keep the
    // process alive.
    runtime.shutdown_background();
    served
}
