//! What the kernel accounts to a server: CPU time and resident memory of its processes.

use std::fs;
use std::path::PathBuf;

/// The process and those that it has started.
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(parent) = family.get(next) {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            family.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    family
}

/// CPU seconds of all threads that live.
///
/// From `schedstat`: the clock ticks of `stat` are 10 ms long, a tenth of a short measurement.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let of_task = |task: PathBuf| first_number(&fs::read_to_string(task.join("schedstat")).ok()?);
    let tasks = pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/task")).ok());
    let nanos = tasks.flatten().flatten().filter_map(|task| of_task(task.path()));
    nanos.sum::<u64>() as f64 / 1e9
}

/// Resident memory of all, in MiB.
pub(crate) fn resident_mib(pids: &[u32]) -> f64 {
    let kib = pids.iter().filter_map(|pid| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        first_number(text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?)
    });
    kib.sum::<u64>() as f64 / 1024.0
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_belongs_to_the_family_until_it_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!family(std::process::id()).contains(&child.id()));
    }

    #[test]
    fn this_process_has_used_time_and_memory() {
        let pids = [std::process::id()];
        assert!(cpu_seconds(&pids) > 0.0);
        assert!(resident_mib(&pids) > 0.5);
    }
}
