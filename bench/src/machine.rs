//! The machine: what it is, and whether somebody else is using it.
//!
//! A figure taken while a compiler runs is worth nothing, so the load is looked at before the first row and before each,
//! and time stolen by the hypervisor is counted during each.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use shunt_tests::Cmd;

use crate::{process, stop};

/// Shares of all processors' time that leave the machine quiet.
const MOST_BUSY: f64 = 0.05;
const MOST_STOLEN: f64 = 0.01;
/// How long the load is looked at.
const LOOK: Duration = Duration::from_millis(700);

/// Counters of all processors together, in ticks (the first line of /proc/stat).
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    total: u64,
    idle: u64,
    stolen: u64,
}

impl Ticks {
    /// Now.
    ///
    /// # Errors
    /// /proc is not readable.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        Self::parse(&text).with_context(|| format!("no counters in /proc/stat: {text}"))
    }

    fn parse(text: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; guest time is in user already.
        let fields: Vec<u64> = text
            .lines()
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map_while(|f| f.parse().ok())
            .collect();
        Some(Self { total: fields.get(..8)?.iter().sum(), idle: fields[3] + fields[4], stolen: fields[7] })
    }

    fn share(self, since: Self, of: impl Fn(Self) -> u64) -> f64 {
        (of(self) - of(since)) as f64 / (self.total - since.total).max(1) as f64
    }

    /// Share of the time since `since` that the hypervisor gave to others, 0 to 1.
    pub fn stolen_since(self, since: Self) -> f64 {
        self.share(since, |ticks| ticks.stolen)
    }
}

/// What others did with the machine just now.
#[derive(Clone, Debug)]
pub struct Load {
    /// Share of all processors' time, 0 to 1.
    pub busy: f64,
    /// The same, taken by the hypervisor.
    pub stolen: f64,
    /// Load average of the last minute.
    pub average: String,
    /// Processes that used most, with their share of one processor.
    pub busiest: Vec<(String, f64)>,
}

impl Load {
    /// Looks for a moment. Nothing of ours must run meanwhile.
    ///
    /// # Errors
    /// A signal came, or /proc is not readable.
    pub fn look() -> Result<Self> {
        let (before, used) = (Ticks::now()?, used());
        stop::pause(LOOK)?;
        let (after, now) = (Ticks::now()?, self::used());
        let share = |ticks: u64| ticks as f64 / process::TICKS_PER_SECOND as f64 / LOOK.as_secs_f64();
        let mut busiest: Vec<(String, f64)> = now
            .into_iter()
            .map(|(pid, (name, ticks))| {
                (name, share(ticks - used.get(&pid).map_or(0, |(_, before)| *before.min(&ticks))))
            })
            .filter(|(_, share)| *share >= 0.02)
            .collect();
        busiest.sort_by(|a, b| b.1.total_cmp(&a.1));
        busiest.truncate(3);
        let average = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Ok(Self {
            busy: 1.0 - after.share(before, |ticks| ticks.idle + ticks.stolen),
            stolen: after.stolen_since(before),
            average: average.split(' ').next().unwrap_or("?").to_owned(),
            busiest,
        })
    }

    /// Whether figures taken now can be trusted.
    pub fn quiet(&self) -> bool {
        self.busy <= MOST_BUSY && self.stolen <= MOST_STOLEN
    }

    /// One line.
    pub fn text(&self) -> String {
        let busiest: Vec<String> =
            self.busiest.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
        let busiest = if busiest.is_empty() { String::new() } else { format!(" ({})", busiest.join(", ")) };
        let (busy, stolen) = (self.busy * 100.0, self.stolen * 100.0);
        format!("busy {busy:.1} %{busiest}, stolen {stolen:.1} %, load average {}", self.average)
    }

    /// For the record of a row.
    pub fn json(&self, stolen_during: f64) -> Value {
        json!({"quiet_before": self.quiet(), "before": self.text(), "stolen_during": stolen_during})
    }
}

fn used() -> HashMap<u32, (String, u64)> {
    let of = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let name = stat.split_once('(')?.1.rsplit_once(')')?.0.to_owned();
        Some((pid, (name, process::ticks(&stat)?)))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| of(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Processors, memory, kernel, and the versions of what is measured.
pub fn describe() -> Value {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1));
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model.unwrap_or("unknown"),
        "cores": cpu.lines().filter(|line| line.starts_with("processor")).count(),
        "memory_mib": memory.map(|kib| kib >> 10),
        "kernel": kernel.trim(),
        "shunt": said(&["git", "describe", "--always", "--dirty"]),
        "dpdk": said(&["pkg-config", "--modversion", "libdpdk"]),
        "ovs": said(&["ovs-vsctl", "--version"]),
        "iperf3": said(&["iperf3", "--version"]),
    })
}

/// The first line that a program prints; "missing" when it does not run.
fn said(argv: &[&str]) -> String {
    let output = Cmd::new(argv.iter().copied()).check().ok();
    output
        .and_then(|output| output.stdout.lines().next().map(str::to_owned))
        .unwrap_or_else(|| "missing".into())
}

#[cfg(test)]
mod tests {
    use super::Ticks;

    #[test]
    fn idle_and_stolen_time_are_told_apart() {
        let before = Ticks::parse("cpu  100 0 0 100 0 0 0 0 0 0\n").unwrap();
        let after = Ticks::parse("cpu  120 0 10 150 10 0 0 10 20 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(after.stolen_since(before), 0.1);
        assert_eq!(after.share(before, |ticks| ticks.idle), 0.6);
        assert!(Ticks::parse("cpu  1 2 3\n").is_none());
    }
}
