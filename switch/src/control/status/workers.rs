//! The workers as rows.

use serde::Serialize;
use shunt_ffi::clock;

use super::carried::Carried;
use super::cpu::{self, Cores};
use super::{micros, percent};
use crate::control::{Control, WorkerLink};
use crate::counters::{LATENCIES, LoopCounters};

/// A worker.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerRow {
    /// Index.
    pub worker: usize,
    /// Core it is pinned to.
    pub core: Option<usize>,
    /// Frames received.
    pub packets: u64,
    /// Share of the time spent on iterations with frames, percent.
    pub busy_percent: f64,
    /// Share of the time asleep, percent.
    pub asleep_percent: f64,
    /// Busy cycles per frame.
    pub cycles_per_packet: f64,
    /// Loop iterations.
    pub iterations: u64,
    /// Times asleep.
    pub sleeps: u64,
    /// Receive queues, as `port/queue`.
    pub queues: Vec<String>,
    /// Generation it runs.
    pub generation: u64,
    /// Longest iteration that took over a topology, microseconds.
    pub worst_swap_us: f64,
    /// Lessons that found the channel full.
    pub lessons_lost: u64,
    /// Contended shared transmit queues.
    pub tx_contended: u64,
    /// ICMP errors and echo replies sent.
    pub replies: u64,
    /// Those that were not sent, because their receivers had got enough.
    pub replies_limited: u64,
    /// Packets that wait for the MAC address of their next hop, now.
    pub held: u64,
    /// How long its iterations take.
    pub pace: Iterations,
    /// Seconds that something else than this machine had its core, since the machine started (steal; of a floating worker, all cores).
    pub steal_seconds: f64,
    /// Seconds that it could have run and something else did.
    pub waited_seconds: f64,
    /// Raw cycle counters, for whoever wants to compute over an interval.
    pub cycles: Cycles,
    /// What its flow cache did.
    pub cache: CacheUse,
    /// What it received, sent and dropped, at all ports.
    pub carried: Carried,
}

/// How long a worker's iterations take: what a frame waits is at most the iteration under way and its own.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Iterations {
    /// Iterations that moved frames.
    pub busy: u64,
    /// Of these, those in which a receive queue gave a whole burst: more was waiting than was taken.
    pub full: u64,
    /// The same, percent: how often the worker is behind.
    pub full_percent: f64,
    /// Of a hundred iterations that moved frames, 99 took at most so long, microseconds, up to the next power of two; 0 when none did.
    pub p99_us: f64,
    /// Iterations, with frames or without, that took longer than 5 ms: an alarm.
    pub late: u64,
    /// The longest of these, microseconds.
    pub worst_late_us: f64,
    /// Seconds since the last of these.
    pub late_age: Option<u64>,
    /// Iterations that moved frames by how long they took: the n-th number, from 0, is of those of more than 2^(n-1) and at most 2^n ns;
    /// the last has all that are longer.
    pub latency: Vec<u64>,
}

impl Iterations {
    fn of(time: &LoopCounters) -> Self {
        let latency = time.latency.get();
        let busy: u64 = latency.iter().sum();
        let (full, late) = (time.full.get(), time.late.get());
        let since = time.total_cycles.get().saturating_sub(time.last_late_cycles.get());
        Self {
            busy,
            full,
            full_percent: percent(full, busy),
            p99_us: p99_us(&latency, busy),
            late,
            worst_late_us: micros(clock::duration(time.worst_late_cycles.get())),
            late_age: (late > 0).then(|| clock::duration(since).as_secs()),
            latency: latency.into(),
        }
    }
}

/// The end of the bucket in which the 99th of a hundred is, microseconds.
fn p99_us(latency: &[u64; LATENCIES], all: u64) -> f64 {
    let mut below = 0;
    let wanted = all - all / 100;
    let bucket = latency.iter().position(|count| {
        below += count;
        below >= wanted
    });
    bucket.filter(|_| all > 0).map_or(0.0, |bucket| (1_u64 << bucket) as f64 / 1000.0)
}

/// What a worker's flow cache did since the worker started.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CacheUse {
    /// Flows there is room for; 0 when the cache is off.
    pub capacity: usize,
    /// Frames whose flow was in the cache.
    pub hits: u64,
    /// Frames that walked the stages although the cache is on.
    pub misses: u64,
    /// Hits among hits and misses, percent.
    pub hit_percent: f64,
    /// Flows entered.
    pub entered: u64,
    /// Frames whose flow was in the cache, but decided under a topology that has changed since.
    pub stale: u64,
    /// Hits that were decided anew to check them.
    pub verified: u64,
    /// Of those, hits that the stages decided otherwise: a defect of the switch.
    pub unsound: u64,
}

impl CacheUse {
    fn of(worker: &WorkerLink) -> Self {
        let flows = &worker.counters.flows;
        let (hits, misses) = (flows.hits.get(), flows.missed.get());
        let lookups = hits + misses;
        Self {
            capacity: worker.cache_capacity,
            hits,
            misses,
            hit_percent: if lookups == 0 { 0.0 } else { hits as f64 * 100.0 / lookups as f64 },
            entered: flows.entered.get(),
            stale: flows.stale.get(),
            verified: flows.verified.get(),
            unsound: flows.unsound.get(),
        }
    }
}

/// Raw cycle counters.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cycles {
    /// Since the worker started.
    pub total: u64,
    /// In iterations with frames.
    pub busy: u64,
    /// Asleep.
    pub slept: u64,
    /// Per second.
    pub hz: u64,
}

impl Control {
    /// All workers.
    pub fn workers(&self) -> Vec<WorkerRow> {
        let hz = clock::tsc_hz();
        let cores = Cores::read();
        self.workers
            .iter()
            .enumerate()
            .map(|(index, worker)| {
                let time: &LoopCounters = &worker.counters.time;
                let (total, busy, slept) =
                    (time.total_cycles.get(), time.busy_cycles.get(), time.slept_cycles.get());
                let packets = time.packets.get();
                let percent = |part: u64| if total == 0 { 0.0 } else { part as f64 * 100.0 / total as f64 };
                let queues = self.ports.iter().flat_map(|port| {
                    let name = &port.config.name;
                    port.queues()
                        .iter()
                        .filter(|(_, on)| *on == index)
                        .map(move |(queue, _)| format!("{name}/{queue}"))
                });
                WorkerRow {
                    worker: index,
                    core: worker.core,
                    packets,
                    busy_percent: percent(busy),
                    asleep_percent: percent(slept),
                    cycles_per_packet: if packets == 0 { 0.0 } else { busy as f64 / packets as f64 },
                    iterations: time.iterations.get(),
                    sleeps: time.sleeps.get(),
                    queues: queues.collect(),
                    generation: time.generation.get(),
                    worst_swap_us: micros(clock::duration(time.worst_swap_cycles.get())),
                    lessons_lost: time.lessons_lost.get(),
                    tx_contended: time.tx_contended.get(),
                    replies: time.replies.get(),
                    replies_limited: time.replies_limited.get(),
                    held: time.held.get(),
                    pace: Iterations::of(time),
                    steal_seconds: cores.steal_seconds(worker.core),
                    waited_seconds: cpu::waited_seconds(time.thread.get()),
                    cycles: Cycles { total, busy, slept, hz },
                    cache: CacheUse::of(worker),
                    carried: Carried::of(&worker.counters),
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_of_a_hundred() {
        let of = |counts: &[(usize, u64)]| {
            let mut latency = [0; LATENCIES];
            counts.iter().for_each(|(bucket, count)| latency[*bucket] = *count);
            p99_us(&latency, latency.iter().sum())
        };
        assert_eq!(of(&[]), 0.0);
        assert_eq!(of(&[(10, 1)]), 1.024);
        assert_eq!(of(&[(10, 99), (20, 1)]), 1.024);
        assert_eq!(of(&[(10, 98), (20, 2)]), 1048.576);
    }
}
