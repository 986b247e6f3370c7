//! The hash equivalence server: arguments, wiring, exit codes.

mod arguments;
mod config;
mod error;
mod logging;
mod logins;
mod memory;
mod open_files;
mod serve;
mod signals;
mod threads;
mod tls;
mod upstream;
mod values;
mod words;

use std::process::ExitCode;
use std::time::Duration;

use hashserv_log::one_line;

use crate::arguments::Arguments;
use crate::config::Config;
use crate::error::StartError;
use crate::logging::say;
use crate::threads::worker_threads;

/// Longest wait for threads at the end of the process.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(1);

/// 0 after a stop that was asked for, 1 where the server cannot start or has lost its database or was stopped at once, 2 for a wrong setting;
/// clap exits with 2 where the command line or the environment makes no sense.
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("hashserv: {}", one_line(&error)));
            ExitCode::from(error.status())
        }
    }
}

fn run() -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(worker_threads()?)
        .enable_all()
        .build()
        .map_err(|source| StartError::System { what: "start the worker threads", source })?;
    {
        let _entered = runtime.enter();
        signals::survive_the_limit_of_file_sizes()?;
    }
    let config = Config::resolve(Arguments::read())?;
    logging::start(config.log_level);
    let served = runtime.block_on(serve::serve(config));
    // What still runs is dropped, and removes its socket file by that. A thread that waits for the system, for the
    // address of an upstream's host say, must not keep the process alive.
    runtime.shutdown_timeout(SHUTDOWN_LIMIT);
    served
}
