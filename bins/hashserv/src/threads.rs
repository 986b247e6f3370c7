//! Number of the worker threads.

use std::env;
use std::ffi::OsString;
use std::thread::available_parallelism;

use crate::error::StartError;

/// Most worker threads that may be asked for.
const MAX_WORKER_THREADS: usize = 1024;

/// Returns the number of threads that the environment asks for, or that of the processors.
///
/// The runtime would read the variable itself, and panic where it is wrong.
pub(crate) fn worker_threads() -> Result<usize, StartError> {
    match env::var_os("TOKIO_WORKER_THREADS").filter(|value| !value.is_empty()) {
        Some(value) => parse(value),
        None => Ok(available_parallelism().map_or(1, usize::from).min(MAX_WORKER_THREADS)),
    }
}

fn parse(value: OsString) -> Result<usize, StartError> {
    let number = value.to_str().and_then(|text| text.parse().ok());
    let number = number.filter(|number| (1..=MAX_WORKER_THREADS).contains(number));
    number.ok_or(StartError::WorkerThreads { value, most: MAX_WORKER_THREADS })
}
