//! How much memory there is.

use std::fs;

/// What a remembered task and a remembered unihash need together, in bytes, room for hashing included.
const ENTRY_BYTES: u64 = 150;

/// One part in so many of the memory is for what is remembered.
const SHARE: u64 = 16;

/// How many look-ups to remember where nothing is said.
pub(crate) fn default_cache_entries() -> usize {
    let memory = [total_memory(), container_limit()].into_iter().flatten().min();
    match memory {
        Some(bytes) => usize::try_from(bytes / SHARE / ENTRY_BYTES).unwrap_or(usize::MAX),
        None => hashserv_service::DEFAULT_CACHE_ENTRIES,
    }
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
        assert!(default_cache_entries() > 1000);
    }
}
