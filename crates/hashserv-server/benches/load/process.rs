//! Programs that are measured.

use std::fs;
use std::process::{Child, Command};

use crate::Result;

/// Linux tells the time of processors in hundredths of a second.
const TICKS: f64 = 100.0;

/// A program that runs until the value is dropped.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> std::io::Result<Self> {
        Ok(Process(command.spawn()?))
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.0
    }

    /// The processor time that it has used so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        // The name of the program comes before, in parentheses, and may hold anything.
        let (_, fields) = text.rsplit_once(") ").ok_or("/proc/PID/stat has another form")?;
        let ticks =
            fields.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<std::result::Result<u64, _>>()?;
        Ok(ticks as f64 / TICKS)
    }

    /// The memory that it occupies, in MiB.
    pub(crate) fn memory(&self) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("it has ended")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already needs no end; its files are temporary.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
