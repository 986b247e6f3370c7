//! Standard output that was closed before the start.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use rustix::fs::{OFlags, fcntl_getfl, fstat};

use crate::failure::Failure;

/// Checks that what is printed can be read by somebody, for what cannot be printed again.
///
/// The runtime opens `/dev/null` for reading and writing in place of a closed descriptor, so that nothing fails later.
/// A shell opens it for writing alone where that is wanted. Other programs open it as the runtime does, so commands
/// whose output can be had again do without this check.
pub(crate) fn check_open() -> Result<(), Failure> {
    if is_stand_in().unwrap_or(false) { Err(Failure::ClosedOutput) } else { Ok(()) }
}

/// Reports whether standard output is `/dev/null`, open for reading too.
fn is_stand_in() -> io::Result<bool> {
    let output = io::stdout();
    if fcntl_getfl(&output)? & OFlags::ACCMODE != OFlags::RDWR {
        return Ok(false);
    }
    Ok(fstat(&output)?.st_rdev == fs::metadata("/dev/null")?.rdev())
}
