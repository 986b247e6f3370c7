//! How much memory there is.

use std::fs;

use crate::error::StartError;

/// What a remembered task and a remembered unihash need together, in bytes, room for hashing included.
const ENTRY_BYTES: u64 = 150;

/// One part in so many of the memory is for what is remembered.
const SHARE: u64 = 16;

/// The memory in bytes that is taken for granted where the system does not tell.
const UNKNOWN_MEMORY: u64 = 1 << 40;

/// Number of look-ups to remember: what was asked for, or what fits in a part of the memory.
///
/// # Errors
///
/// [`StartError::TooManyEntries`] where the memory cannot hold as many.
pub(crate) fn cache_entries(asked: Option<usize>) -> Result<usize, StartError> {
    let memory = [total_memory(), container_limit()].into_iter().flatten().min();
    match (asked, memory) {
        (Some(entries), memory) => check(entries, memory.unwrap_or(UNKNOWN_MEMORY)),
        (None, Some(bytes)) => Ok(usize::try_from(bytes / SHARE / ENTRY_BYTES).unwrap_or(usize::MAX)),
        (None, None) => Ok(hashserv_service::DEFAULT_CACHE_ENTRIES),
    }
}

fn check(entries: usize, memory: u64) -> Result<usize, StartError> {
    let needed = (entries as u64).saturating_mul(ENTRY_BYTES);
    if needed <= memory { Ok(entries) } else { Err(StartError::TooManyEntries { entries, needed, memory }) }
}

/// The memory of the machine in bytes.
fn total_memory() -> Option<u64> {
    parse_total(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// What the container may use, in bytes, where there is a limit (control groups, version 2).
fn container_limit() -> Option<u64> {
    fs::read_to_string("/sys/fs/cgroup/memory.max").ok()?.trim().parse().ok()
}

fn parse_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_read_in_bytes() {
        assert_eq!(parse_total("MemTotal:       24576000 kB\nMemFree: 1 kB\n"), Some(24_576_000 * 1024));
        assert_eq!(parse_total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn something_is_remembered_on_any_machine() {
        assert!(cache_entries(None).unwrap() > 1000);
    }

    #[test]
    fn no_more_is_remembered_than_the_memory_holds() {
        assert_eq!(check(10, 1500).unwrap(), 10);
        assert!(check(11, 1500).is_err());
        assert_eq!(check(0, 0).unwrap(), 0);
    }
}
