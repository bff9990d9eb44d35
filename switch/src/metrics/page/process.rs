//! The process. By the names that client libraries give these, without `shunt_`: dashboards know them.

use std::fmt;
use std::fs;

use super::{Writer, one};
use crate::control::status::TICKS;

/// Bytes of a page of x86-64.
const PAGE: u64 = 4096;

/// What `/proc` says of this process.
#[derive(Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: f64,
    /// Since the epoch.
    start_seconds: f64,
    resident_bytes: u64,
    virtual_bytes: u64,
    open_files: u64,
}

impl Process {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let mut process = Self::of(&text("/proc/self/stat"), &text("/proc/stat")).unwrap_or_default();
        process.open_files = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        process
    }

    /// From `/proc/PID/stat` (proc_pid_stat(5)) and `/proc/stat`.
    fn of(stat: &str, system: &str) -> Option<Self> {
        // The name may have blanks and parentheses. Behind it is field 3.
        let words: Vec<&str> = stat.rsplit_once(") ")?.1.split_ascii_whitespace().collect();
        let field = |number: usize| words.get(number - 3)?.parse::<u64>().ok();
        let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<u64>().ok())?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) as f64 / TICKS,
            start_seconds: boot as f64 + field(22)? as f64 / TICKS,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * PAGE,
            open_files: 0,
        })
    }
}

pub(super) fn write(page: &mut Writer<'_>) -> fmt::Result {
    let process = Process::read();
    page.infos("shunt_build", "The version of shuntd.", [[("version", env!("CARGO_PKG_VERSION"))]])?;
    page.counters(
        ("process_cpu", "seconds"),
        "Processor time of all threads; a worker that polls uses all of its core.",
        one(process.cpu_seconds),
    )?;
    page.gauges(
        ("process_start_time", "seconds"),
        "When the process started, since 1970.",
        one(process.start_seconds),
    )?;
    page.gauges(
        ("process_resident_memory", "bytes"),
        "Memory in use; hugepages are not in it.",
        one(process.resident_bytes),
    )?;
    page.gauges(("process_virtual_memory", "bytes"), "Address space.", one(process.virtual_bytes))?;
    page.gauges(("process_open_fds", ""), "Open file descriptors.", one(process.open_files))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "42 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 4 0 300 8192 2 18446744073709551615";
        let found = Process::of(stat, "cpu 1\nbtime 1000\n").unwrap();
        let wanted = Process {
            cpu_seconds: 2.0,
            start_seconds: 1003.0,
            resident_bytes: 8192,
            virtual_bytes: 8192,
            open_files: 0,
        };
        assert_eq!(found, wanted);
        assert_eq!(Process::of("", ""), None);
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.virtual_bytes > process.resident_bytes);
        assert!(process.open_files > 2 && process.start_seconds > 1.5e9, "{process:?}");
    }
}
