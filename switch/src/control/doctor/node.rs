//! The node: workers, their cores, buffers, connections, generations.

use std::fs;
use std::time::{Duration, Instant};

use super::chart::Check;
use super::{Examination, Findings, RECENT};
use crate::control::Control;
use crate::control::status::percent;
use crate::drop::DropReason;

/// Busy shares of a worker, percent, from which there is little time left, and none.
const BUSY: (f64, f64) = (80.0, 95.0);
/// Share of the time that a worker waits for its core, percent, from which that is worth a word.
const WAITS: f64 = 50.0;
/// Use of the connection table, percent, from which it is nearly full, and full.
const PRESSURE: (f64, f64) = (80.0, 99.0);
/// Free buffers, percent, below which there are few, and none to speak of.
const FREE: (f64, f64) = (10.0, 1.0);

/// The time of one worker until now.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    /// Cycles since it started, and of them those with frames.
    cycles: (u64, u64),
    /// How long its thread was ready to run and did not: another one had the core.
    waited: Duration,
    /// Frames that it dropped because a port's queue was full.
    full: u64,
    /// Iterations of its loop; `None` while it sleeps.
    moves: Option<u64>,
}

/// The workers' time until now.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    at: Instant,
    workers: Vec<Spent>,
}

impl Control {
    /// The workers' time until now.
    pub(super) fn time_spent(&self) -> Sample {
        let waits = waits();
        let workers = self.workers.iter().enumerate().map(|(index, worker)| {
            let time = &worker.counters.time;
            let full = self.ports.iter().map(|port| worker.counters.port(port.id).drops(DropReason::TxFull));
            Spent {
                cycles: (time.total_cycles.get(), time.busy_cycles.get()),
                waited: waits
                    .iter()
                    .find(|(of, _)| *of == index)
                    .map_or(Duration::ZERO, |(_, waited)| *waited),
                full: full.sum(),
                moves: self.publisher.seen(index).map(|_| time.iterations.get()),
            }
        });
        Sample { at: Instant::now(), workers: workers.collect() }
    }

    /// Looks at all of it.
    pub(super) fn check_node(&mut self, examination: &Examination, findings: &mut Findings) {
        self.check_workers(&examination.before, findings);
        self.check_room(findings);
        self.check_generation(findings);
    }

    fn check_workers(&self, before: &Sample, findings: &mut Findings) {
        let now = self.time_spent();
        let elapsed = now.at.duration_since(before.at);
        for (index, (then, now)) in before.workers.iter().zip(&now.workers).enumerate() {
            let subject = format!("worker {index}");
            let total = now.cycles.0.saturating_sub(then.cycles.0);
            let busy = percent(now.cycles.1.saturating_sub(then.cycles.1), total);
            let lost = now.full - then.full;
            let core = self.workers.get(index).and_then(|worker| worker.core);
            let core = core.map_or_else(|| "no core of its own".to_owned(), |core| format!("core {core}"));
            let evidence = format!("busy {busy} % of the last {} ms, {core}", elapsed.as_millis());
            let evidence =
                if lost > 0 { format!("{evidence}; {lost} frames lost to full queues") } else { evidence };
            let fix = "raise `count` under [workers] and restart shuntd, or give the busiest port more `queues`: `shunt show workers`";
            if now.moves.is_some() && now.moves == then.moves {
                let evidence = format!("has not moved for {} ms, and does not sleep", elapsed.as_millis());
                let fix = "it hangs: send the log and `shunt show workers` with a report, then `systemctl restart shuntd`";
                findings.fail(Check::Worker, &subject, evidence, fix);
            } else if busy >= BUSY.1 {
                findings.fail(Check::Worker, &subject, evidence, fix);
            } else if busy >= BUSY.0 || lost > 0 {
                findings.warn(Check::Worker, &subject, evidence, fix);
            } else {
                findings.ok(Check::Worker, &subject, evidence);
            }
            let waited = now.waited.saturating_sub(then.waited);
            let share = percent(waited.as_micros() as u64, elapsed.as_micros() as u64);
            let evidence = format!("waited for its core {share} % of the last {} ms", elapsed.as_millis());
            if share >= WAITS {
                let fix = "give workers cores of their own: `cores` under [workers], and keep other programs off them (`top`)";
                findings.warn(Check::Cpu, &subject, evidence, fix);
            } else {
                findings.ok(Check::Cpu, &subject, evidence);
            }
        }
    }

    /// Buffers and connections.
    fn check_room(&self, findings: &mut Findings) {
        let (all, free) = (self.config.memory.mbufs, self.site.pool.available());
        let share = percent(free.into(), all.into());
        let evidence = format!("{free} of {all} packet buffers are free");
        let fix = "raise `mbufs` under [memory] and restart shuntd";
        match share {
            share if share <= FREE.1 => findings.fail(Check::Buffers, "node", evidence, fix),
            share if share <= FREE.0 => findings.warn(Check::Buffers, "node", evidence, fix),
            _ => findings.ok(Check::Buffers, "node", evidence),
        }
        let Some(table) = self.connections.row() else { return };
        let (entries, capacity, pressure) = (table.entries, table.capacity, table.pressure_percent);
        let evidence =
            format!("{entries} of {capacity} connections ({pressure} %), {} half-open", table.half_open);
        let fix = "raise `capacity` under [connections] and restart shuntd; `shunt conntrack -S` says who has how many";
        match pressure {
            pressure if pressure >= PRESSURE.1 => findings.fail(Check::Connections, "node", evidence, fix),
            pressure if pressure >= PRESSURE.0 => findings.warn(Check::Connections, "node", evidence, fix),
            _ => findings.ok(Check::Connections, "node", evidence),
        }
        let now = self.now();
        for port in self.ports.iter() {
            for dropped in self.pulse.dropped(port.id, now, RECENT) {
                if super::chart::explains(dropped.reason) != Check::Connections {
                    continue;
                }
                let evidence = super::ports::in_words(&dropped);
                let fix = "`shunt conntrack -S`; the limits are under [connections]";
                findings.warn(Check::Connections, port.config.name.as_str(), evidence, fix);
            }
        }
    }

    /// What should be in force against what is, worker by worker, and table by table.
    fn check_generation(&mut self, findings: &mut Findings) {
        if !findings.wants(Check::Generation) && !findings.wants(Check::Tables) {
            return;
        }
        for row in self.installed() {
            let subject = format!("worker {}", row.worker);
            let evidence = row.describe();
            if row.in_force {
                findings.ok(Check::Generation, &subject, evidence);
            } else {
                let fix =
                    "`shunt resync`; if the worker does not follow, it hangs: `systemctl restart shuntd`";
                findings.fail(Check::Generation, &subject, evidence, fix);
            }
        }
        // What traffic has taught this very moment is no difference.
        self.publish_lessons();
        let wrong = self.differences();
        if wrong.is_empty() {
            findings.ok(Check::Tables, "node", "the tables are what the running configuration makes");
        } else {
            let shown: Vec<&str> = wrong.iter().take(4).map(String::as_str).collect();
            let evidence = format!("{} differences: {}", wrong.len(), shown.join("; "));
            findings.fail(Check::Tables, "node", evidence, "`shunt resync`");
        }
    }
}

/// How long each worker's thread was ready to run and did not, until now (`/proc/PID/task/TID/schedstat`, second number,
/// nanoseconds; Documentation/scheduler/sched-stats of the kernel).
fn waits() -> Vec<(usize, Duration)> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let one = |path: std::path::PathBuf| {
        let name = fs::read_to_string(path.join("comm")).ok()?;
        let index = name.trim().strip_prefix("shunt-worker-")?.parse().ok()?;
        let text = fs::read_to_string(path.join("schedstat")).ok()?;
        let waited = text.split(' ').nth(1)?.trim().parse().ok()?;
        Some((index, Duration::from_nanos(waited)))
    };
    tasks.filter_map(|task| one(task.path())).collect()
}
