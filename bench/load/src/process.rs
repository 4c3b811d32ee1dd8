//! What the kernel accounts to the server: CPU time of all its threads, and resident memory.

use std::{fs, io, path::PathBuf};

/// The processes of one server, read by their numbers.
pub(crate) struct Server {
    roots: Vec<PathBuf>,
}

impl Server {
    /// `None` where there are none to ask.
    pub(crate) fn new(pids: &[u32]) -> Option<Self> {
        let roots: Vec<_> = pids.iter().map(|pid| PathBuf::from(format!("/proc/{pid}"))).collect();
        (!roots.is_empty()).then_some(Self { roots })
    }

    /// CPU time of the threads that live, in nanoseconds.
    ///
    /// From `schedstat`: the clock ticks of `stat` are 10 ms long, a tenth of a short measurement.
    pub(crate) fn cpu(&self) -> io::Result<u64> {
        let mut total = 0;
        for root in &self.roots {
            for task in fs::read_dir(root.join("task"))? {
                let text = fs::read_to_string(task?.path().join("schedstat"))?;
                total += first_number(&text)?;
            }
        }
        Ok(total)
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        let mut total = 0;
        for root in &self.roots {
            let text = fs::read_to_string(root.join("status"))?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            total += first_number(line.unwrap_or_default())?;
        }
        Ok(total)
    }
}

fn first_number(text: &str) -> io::Result<u64> {
    let word = text.split_whitespace().next().unwrap_or_default();
    word.parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "no number in /proc"))
}
