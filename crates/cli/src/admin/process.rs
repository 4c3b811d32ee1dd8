//! What the operating system knows of this process.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

/// Figures of this process at this moment; what cannot be had is zero.
pub(super) struct Process {
    pub(super) cpu: Duration,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) open_files: u64,
    pub(super) max_open_files: u64,
}

impl Process {
    pub(super) fn now() -> Self {
        let cpu = getrusage(UsageWho::RUSAGE_SELF).map_or(0, |usage| {
            usage.user_time().num_microseconds() + usage.system_time().num_microseconds()
        });
        let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let mut pages = pages.split(' ').map(|pages| pages.parse::<u64>().unwrap_or(0));
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096).unsigned_abs();
        let (virtual_pages, resident_pages) =
            (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
        Self {
            cpu: Duration::from_micros(cpu.unsigned_abs()),
            resident_bytes: resident_pages * page,
            virtual_bytes: virtual_pages * page,
            // Without the one that reads the directory.
            open_files: fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64 - 1),
            max_open_files: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_a_processor_memory_and_files() {
        let Process { cpu, resident_bytes, virtual_bytes, open_files, max_open_files } =
            Process::now();
        assert!(cpu > Duration::ZERO);
        assert!(resident_bytes > 1 << 20 && virtual_bytes >= resident_bytes);
        assert!(open_files >= 3 && max_open_files >= open_files);
    }
}
