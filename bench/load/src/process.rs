//! What the kernel accounts to the server: CPU time of all its threads, and resident memory.

use std::{fs, io, path::PathBuf};

/// A process, read by its number.
pub(crate) struct Process {
    root: PathBuf,
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { root: PathBuf::from(format!("/proc/{pid}")) }
    }

    /// CPU time of the threads that live, in nanoseconds.
    ///
    /// From `schedstat`: the clock ticks of `stat` are 10 ms long, a tenth of a short measurement.
    pub(crate) fn cpu(&self) -> io::Result<u64> {
        let mut total = 0;
        for task in fs::read_dir(self.root.join("task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat"))?;
            total += first_number(&text)?;
        }
        Ok(total)
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let text = fs::read_to_string(self.root.join("status"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        first_number(line.unwrap_or_default())
    }
}

fn first_number(text: &str) -> io::Result<u64> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no number in /proc"))
}
