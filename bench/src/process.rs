//! What a process has used: processor time and memory, from /proc (proc_pid_stat(5), proc_pid_status(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// Kernel ticks per second in /proc (USER_HZ, fixed on Linux).
pub const TICKS_PER_SECOND: u64 = 100;

/// User and system time of all threads of a process since its start; 10 ms steps.
///
/// # Errors
/// The process is gone.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let ticks = ticks(&text).with_context(|| format!("{path} has no times: {text}"))?;
    Ok(Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND))
}

/// Resident memory of a process in bytes: ordinary pages, and hugepages, which the kernel does not count among them.
///
/// # Errors
/// The process is gone.
pub fn resident(pid: u32) -> Result<(u64, u64)> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let kib = |key: &str| {
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        value.map(|kib| kib << 10)
    };
    let ordinary = kib("VmRSS:").with_context(|| format!("{path} has no VmRSS"))?;
    Ok((ordinary, kib("HugetlbPages:").unwrap_or(0)))
}

/// `utime` + `stime` of a line of /proc/PID/stat. The name in it may hold blanks and brackets.
pub(crate) fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_a_name_with_brackets() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 31 0 0 20 0 5 0 1234 1000 200";
        assert_eq!(ticks(line), Some(281));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let pid = std::process::id();
        assert!(resident(pid).unwrap().0 > 100_000);
        let start = std::time::Instant::now();
        while cpu_time(pid).unwrap() < Duration::from_millis(20) {
            assert!(start.elapsed() < Duration::from_secs(10), "no time is counted");
        }
    }
}
