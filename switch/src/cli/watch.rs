//! `--watch`: the same question every few seconds, with rates over the time between two answers.

use std::time::{Duration, Instant};

use super::client::Client;
use super::table::Table;
use super::{Failure, output, print};
use crate::control::api::proto;

/// Ports with their rates, until interrupted.
pub(super) async fn ports(client: &mut Client, seconds: u32, json: bool) -> Result<(), Failure> {
    let mut asked = Instant::now();
    let mut before = client.show_ports(proto::ShowPortsRequest {}).await?.ports;
    loop {
        tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
        let now = client.show_ports(proto::ShowPortsRequest {}).await?.ports;
        let elapsed = asked.elapsed().as_secs_f64();
        asked = Instant::now();
        if json {
            output(true, &now, String::new)?;
        } else {
            print(format!("{}\n", port_rates(&before, &now, elapsed)).as_bytes())?;
        }
        before = now;
    }
}

/// Workers with their load over the interval, until interrupted.
pub(super) async fn workers(client: &mut Client, seconds: u32, json: bool) -> Result<(), Failure> {
    let mut before = client.show_workers(proto::ShowWorkersRequest {}).await?.workers;
    loop {
        tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
        let now = client.show_workers(proto::ShowWorkersRequest {}).await?.workers;
        if json {
            output(true, &now, String::new)?;
        } else {
            print(format!("{}\n", worker_rates(&before, &now)).as_bytes())?;
        }
        before = now;
    }
}

/// A table of rates per second. A port that began anew in between (its counter fell) counts from zero.
fn port_rates(before: &[proto::Port], now: &[proto::Port], elapsed: f64) -> String {
    let mut table = Table::new(&[
        "PORT",
        "OPER",
        "LINK",
        ">RX-PKTS/S",
        ">RX-MBIT/S",
        ">TX-PKTS/S",
        ">TX-MBIT/S",
        ">DROPS/S",
        ">MISSED/S",
    ]);
    for row in now {
        let old = before.iter().find(|old| old.name == row.name);
        let grown = |of: fn(&proto::Port) -> u64| {
            let was = old.map_or(0, of);
            of(row).checked_sub(was).unwrap_or_else(|| of(row)) as f64 / elapsed
        };
        let state = |up: bool| if up { "up" } else { "down" }.to_owned();
        table.row([
            row.name.clone(),
            state(row.oper_up),
            state(row.link),
            format!("{:.0}", grown(|port| port.rx_packets)),
            format!("{:.1}", grown(|port| port.rx_bytes) * 8e-6),
            format!("{:.0}", grown(|port| port.tx_packets)),
            format!("{:.1}", grown(|port| port.tx_bytes) * 8e-6),
            format!("{:.0}", grown(|port| port.drops)),
            format!("{:.0}", grown(|port| port.missed)),
        ]);
    }
    table.render()
}

/// A table of load over the interval, from the workers' own clocks.
fn worker_rates(before: &[proto::Worker], now: &[proto::Worker]) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">CORE",
        ">BUSY-%",
        ">ASLEEP-%",
        ">PKTS/S",
        ">CYCLES/PKT",
        ">PKTS/ITERATION",
        ">SLEEPS/S",
    ]);
    for row in now {
        let old = before.iter().find(|old| old.worker == row.worker);
        let grown = |of: fn(&proto::Worker) -> u64| of(row).saturating_sub(old.map_or(0, of)) as f64;
        let total = grown(|worker| worker.cycles.unwrap_or_default().total);
        let busy = grown(|worker| worker.cycles.unwrap_or_default().busy);
        let slept = grown(|worker| worker.cycles.unwrap_or_default().slept);
        let packets = grown(|worker| worker.packets);
        let seconds = total / row.cycles.unwrap_or_default().hz as f64;
        let part = |of: f64, whole: f64| if whole > 0.0 { of / whole } else { 0.0 };
        table.row([
            row.worker.to_string(),
            row.core.map_or("-".to_owned(), |core| core.to_string()),
            format!("{:.1}", part(busy, total) * 100.0),
            format!("{:.1}", part(slept, total) * 100.0),
            format!("{:.0}", part(packets, seconds)),
            format!("{:.0}", part(busy, packets)),
            format!("{:.2}", part(packets, grown(|worker| worker.iterations))),
            format!("{:.0}", part(grown(|worker| worker.sleeps), seconds)),
        ]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time_and_a_restarted_port_counts_from_zero() {
        let port = |name: &str, rx_packets, rx_bytes| proto::Port {
            name: name.into(),
            oper_up: true,
            rx_packets,
            rx_bytes,
            ..proto::Port::default()
        };
        let before = [port("a", 100, 1_000_000), port("b", 500, 0)];
        let now = [port("a", 300, 3_500_000), port("b", 50, 0), port("c", 8, 0)];
        let text = port_rates(&before, &now, 2.0);
        let rates: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().skip(3).take(2).collect()).collect();
        assert_eq!(rates, [["100", "10.0"], ["25", "0.0"], ["4", "0.0"]]);
    }

    #[test]
    fn load_is_that_of_the_interval_not_of_the_whole_life() {
        let worker = |total, busy, slept, packets| proto::Worker {
            packets,
            iterations: packets / 4,
            cycles: Some(proto::Cycles { total, busy, slept, hz: 1000 }),
            ..proto::Worker::default()
        };
        let text =
            worker_rates(&[worker(1_000_000, 1_000_000, 0, 8)], &[worker(1_002_000, 1_000_500, 1000, 18)]);
        let row: Vec<&str> = text.lines().nth(1).unwrap_or_default().split_whitespace().collect();
        assert_eq!(row, ["0", "-", "25.0", "50.0", "5", "50", "5.00", "0"]);
    }
}
