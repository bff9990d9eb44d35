//! What the system says of the time that workers did not get: steal, and others on the same core.

use std::fs;

/// Parts of a second in which `/proc` counts (USER_HZ, 100 on x86-64 whatever the kernel's own clock is; proc_stat(5)).
pub(crate) const TICKS: f64 = 100.0;

/// `/proc/stat` of one moment. What cannot be read counts nothing.
#[derive(Debug)]
pub(super) struct Cores(String);

impl Cores {
    pub(super) fn read() -> Self {
        Self(fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    /// Seconds that something else than this machine had the core, or all of them.
    pub(super) fn steal_seconds(&self, core: Option<usize>) -> f64 {
        let name = core.map_or_else(|| "cpu".to_owned(), |core| format!("cpu{core}"));
        let words = self.0.lines().map(str::split_ascii_whitespace);
        let mut lines = words.filter_map(|mut words| (words.next()? == name).then_some(words));
        // user nice system idle iowait irq softirq steal
        let steal = lines.next().and_then(|mut words| words.nth(7)?.parse::<u64>().ok());
        steal.unwrap_or(0) as f64 / TICKS
    }
}

/// Seconds that thread number `thread` of this process could have run and something else did (`/proc/PID/schedstat`, second number, ns).
pub(super) fn waited_seconds(thread: u64) -> f64 {
    let text = fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let waited = text.split_ascii_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    waited.unwrap_or(0) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steal_is_that_of_the_core() {
        let cores = Cores(
            "cpu  1 2 3 4 5 6 7 800 9 10\ncpu0 1 2 3 4 5 6 7 300 9 10\ncpu10 1 2 3 4 5 6 7 50 9 10\nintr 1\n"
                .into(),
        );
        let of = |core| cores.steal_seconds(core);
        assert_eq!([of(None), of(Some(0)), of(Some(10)), of(Some(1))], [8.0, 3.0, 0.5, 0.0]);
        assert_eq!(Cores(String::new()).steal_seconds(None), 0.0);
    }

    #[test]
    fn the_system_says_what_this_thread_waited() {
        let thread = nix::unistd::gettid().as_raw() as u64;
        assert!(waited_seconds(thread) >= 0.0 && waited_seconds(thread).is_finite());
        assert!(fs::metadata(format!("/proc/self/task/{thread}")).is_ok());
        assert_eq!(waited_seconds(u64::MAX), 0.0);
    }
}
