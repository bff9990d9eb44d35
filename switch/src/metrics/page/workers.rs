//! The workers: at most 64, each with one series a family, and a histogram of 20 intervals.

use std::fmt;

use super::Writer;
use crate::control::status::WorkerRow;

/// Shortest interval of iterations that has an end of its own, as a power of two of a nanosecond: up to 1.024 us.
const SHORTEST: usize = 10;

pub(super) fn write(page: &mut Writer<'_>, workers: &[WorkerRow]) -> fmt::Result {
    let numbers: Vec<String> = workers.iter().map(|row| row.worker.to_string()).collect();
    let rows = Rows { numbers: &numbers, workers };
    time(page, &rows)?;
    traffic(page, &rows)?;
    cache(page, &rows)?;
    memory(page, &rows)
}

/// The workers with their numbers as text.
struct Rows<'r> {
    numbers: &'r [String],
    workers: &'r [WorkerRow],
}

impl<'r> Rows<'r> {
    fn each<V>(
        &self,
        of: impl Fn(&WorkerRow) -> V,
    ) -> impl Iterator<Item = ([(&'static str, &'r str); 1], V)> {
        let numbers = self.numbers.iter().map(|number| [("worker", number.as_str())]);
        numbers.zip(self.workers.iter().map(of))
    }
}

/// Cycles of a worker's clock in seconds.
fn seconds(row: &WorkerRow, cycles: u64) -> f64 {
    cycles as f64 / row.cycles.hz.max(1) as f64
}

fn time(page: &mut Writer<'_>, rows: &Rows<'_>) -> fmt::Result {
    page.counters(
        ("shunt_worker_time", "seconds"),
        "Time since the worker started; the whole of which the other times are parts.",
        rows.each(|row| seconds(row, row.cycles.total)),
    )?;
    page.counters(
        ("shunt_worker_busy", "seconds"),
        "Time of loop iterations that moved frames: the worker's true load, whatever the system says of its core.",
        rows.each(|row| seconds(row, row.cycles.busy)),
    )?;
    page.counters(
        ("shunt_worker_asleep", "seconds"),
        "Time asleep; a worker that never sleeps polls.",
        rows.each(|row| seconds(row, row.cycles.slept)),
    )?;
    page.gauges(
        ("shunt_worker_busy_ratio", ""),
        "Part of the time since the start that was busy; of an interval: rates of the seconds.",
        rows.each(|row| row.busy_percent / 100.0),
    )?;
    page.counters(("shunt_worker_iterations", ""), "Loop iterations.", rows.each(|row| row.iterations))?;
    page.counters(
        ("shunt_worker_full_iterations", ""),
        "Loop iterations in which a receive queue gave a whole burst: more was waiting. Its part of the busy ones is the overload.",
        rows.each(|row| row.pace.full),
    )?;
    page.counters(
        ("shunt_worker_late_iterations", ""),
        "Loop iterations of more than 5 ms, with frames or without: whatever came meanwhile was late.",
        rows.each(|row| row.pace.late),
    )?;
    page.gauges(
        ("shunt_worker_late_longest", "seconds"),
        "The longest of those since the start.",
        rows.each(|row| row.pace.worst_late_us / 1e6),
    )?;
    page.histograms(
        "shunt_worker_latency",
        "Time of a loop iteration that moved frames, from receiving them to their being sent.",
        rows.each(|row| (seconds(row, row.cycles.busy), intervals(&row.pace.latency)))
            .map(|(labels, (sum, intervals))| (labels, sum, intervals)),
    )?;
    page.counters(("shunt_worker_sleeps", ""), "Times it went to sleep.", rows.each(|row| row.sleeps))?;
    page.counters(
        ("shunt_worker_waited", "seconds"),
        "Time that the worker could have run and the system ran something else on its core.",
        rows.each(|row| row.waited_seconds),
    )?;
    page.counters(
        ("shunt_worker_steal", "seconds"),
        "Time that the hypervisor gave the worker's core (of a floating worker: all cores) to others, since the machine started.",
        rows.each(|row| row.steal_seconds),
    )
}

/// The counts of powers of two as intervals with their ends in seconds: the shortest together, the last one without end.
fn intervals(latency: &[u64]) -> Vec<(f64, u64)> {
    let (short, long) = latency.split_at(latency.len().min(SHORTEST + 1));
    let end = |power: usize| (1_u64 << power) as f64 / 1e9;
    let mut intervals = vec![(end(SHORTEST), short.iter().sum())];
    intervals.extend(long.iter().enumerate().map(|(at, count)| (end(SHORTEST + 1 + at), *count)));
    match intervals.last_mut() {
        Some(last) if !long.is_empty() => last.0 = f64::INFINITY,
        _ => intervals.push((f64::INFINITY, 0)),
    }
    intervals
}

fn traffic(page: &mut Writer<'_>, rows: &Rows<'_>) -> fmt::Result {
    page.counters(("shunt_worker_frames", ""), "Frames received.", rows.each(|row| row.packets))?;
    page.counters(("shunt_worker_rx", "bytes"), "Bytes received.", rows.each(|row| row.carried.rx_bytes))?;
    page.counters(
        ("shunt_worker_tx_frames", ""),
        "Frames sent; a large send is one.",
        rows.each(|row| row.carried.tx_packets),
    )?;
    page.counters(("shunt_worker_tx", "bytes"), "Bytes sent.", rows.each(|row| row.carried.tx_bytes))?;
    page.counters(
        ("shunt_worker_taken_frames", ""),
        "Frames received that the switch itself took: answers to its own questions.",
        rows.each(|row| row.carried.taken),
    )?;
    page.counters(
        ("shunt_worker_dropped_frames", ""),
        "Frames that the worker dropped, at all ports, also at those that are gone; only reasons that happened.",
        rows.numbers.iter().zip(rows.workers).flat_map(|(number, row)| {
            let drops = row.carried.drops.iter();
            drops.map(move |drop| ([("worker", number.as_str()), ("reason", drop.reason)], drop.count))
        }),
    )?;
    page.gauges(
        ("shunt_worker_cycles_per_frame", ""),
        "Cycles of busy iterations by frames received, since the start.",
        rows.each(|row| row.cycles_per_packet),
    )?;
    page.gauges(
        ("shunt_worker_generation", ""),
        "Number of the topology that the worker runs.",
        rows.each(|row| row.generation),
    )?;
    page.gauges(
        ("shunt_worker_queues", ""),
        "Receive queues that the worker polls.",
        rows.each(|row| row.queues.len() as u64),
    )?;
    page.counters(
        ("shunt_worker_tx_contended", ""),
        "Times that another worker held a transmit queue which they share.",
        rows.each(|row| row.tx_contended),
    )
}

fn cache(page: &mut Writer<'_>, rows: &Rows<'_>) -> fmt::Result {
    page.gauges(
        ("shunt_flow_cache_capacity", ""),
        "Flows that the worker's cache has room for; 0 when it is off.",
        rows.each(|row| row.cache.capacity as u64),
    )?;
    page.counters(
        ("shunt_flow_cache_hits", ""),
        "Frames whose flow was in the cache.",
        rows.each(|row| row.cache.hits),
    )?;
    page.counters(
        ("shunt_flow_cache_misses", ""),
        "Frames that walked the tables although the cache is on.",
        rows.each(|row| row.cache.misses),
    )?;
    page.counters(("shunt_flow_cache_entered", ""), "Flows entered.", rows.each(|row| row.cache.entered))?;
    page.counters(
        ("shunt_flow_cache_stale", ""),
        "Frames whose flow was decided under a topology that has changed since, and which were decided anew.",
        rows.each(|row| row.cache.stale),
    )?;
    page.counters(
        ("shunt_flow_cache_verified", ""),
        "Hits that were decided anew as a check.",
        rows.each(|row| row.cache.verified),
    )?;
    page.counters(
        ("shunt_flow_cache_unsound", ""),
        "Of those, hits that the tables decide otherwise: other than 0 is a defect of the switch.",
        rows.each(|row| row.cache.unsound),
    )
}

fn memory(page: &mut Writer<'_>, rows: &Rows<'_>) -> fmt::Result {
    page.counters(
        ("shunt_worker_lessons_lost", ""),
        "Addresses seen that found the channel to the control thread full; the next frame teaches them again.",
        rows.each(|row| row.lessons_lost),
    )?;
    page.counters(
        ("shunt_worker_replies", ""),
        "ICMP errors and echo replies that the switch sent.",
        rows.each(|row| row.replies),
    )?;
    page.counters(
        ("shunt_worker_replies_limited", ""),
        "Those that it did not send, because their receivers had got enough.",
        rows.each(|row| row.replies_limited),
    )?;
    page.gauges(
        ("shunt_worker_held_packets", ""),
        "Packets that wait for the MAC address of their next hop.",
        rows.each(|row| row.held),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::LATENCIES;

    #[test]
    fn intervals_keep_every_count_and_end_with_infinity() {
        let latency: Vec<u64> = (0..LATENCIES as u64).collect();
        let intervals = intervals(&latency);
        assert_eq!(intervals.iter().map(|(_, count)| count).sum::<u64>(), latency.iter().sum::<u64>());
        assert_eq!(intervals.first(), Some(&(1.024e-6, (0..=10).sum())));
        assert_eq!(intervals.get(1), Some(&(2.048e-6, 11)));
        let last = LATENCIES as u64 - 1;
        assert_eq!(intervals.last(), Some(&(f64::INFINITY, last)));
        assert!(intervals.is_sorted_by(|a, b| a.0 < b.0) && intervals.len() == 21);
    }
}
