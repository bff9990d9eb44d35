//! `shunt show`: asking and laying out, one table each.

use std::time::Duration;

use super::carried::carried;
use super::client::Client;
use super::options::Show;
use super::pace::pace;
use super::routers::routers;
use super::table::Table;
use super::{Failure, bonds, output, policies, services, watch};
use crate::control::api::proto;

/// Asks for `what` and prints it.
pub(super) async fn run(client: &mut Client, what: &Show, json: bool) -> Result<(), Failure> {
    match what {
        Show::Ports(again) => match again.watch {
            Some(seconds) => watch::ports(client, seconds, json).await,
            None => {
                let rows = client.show_ports(proto::ShowPortsRequest {}).await?.ports;
                output(json, &rows, || ports(&rows))
            }
        },
        Show::Fdb { network } => {
            let request = proto::ShowFdbRequest { network: network.clone().unwrap_or_default() };
            let rows = client.show_fdb(request).await?.entries;
            output(json, &rows, || fdb(&rows))
        }
        Show::Workers(again) => match again.watch {
            Some(seconds) => watch::workers(client, seconds, json).await,
            None => {
                let rows = client.show_workers(proto::ShowWorkersRequest {}).await?.workers;
                output(json, &rows, || workers(&rows))
            }
        },
        Show::Topology => {
            let row = client.show_topology(proto::ShowTopologyRequest {}).await?;
            output(json, &row, || topology(&row))
        }
        Show::Drops => {
            let rows = client.show_drops(proto::ShowDropsRequest {}).await?.drops;
            output(json, &rows, || drops(&rows))
        }
        Show::Bonds => bonds::run(client, json).await,
        Show::Services { name } => services::run(client, name.as_deref(), json).await,
        Show::Policies => {
            let rows = client.show_policies(proto::ShowPoliciesRequest {}).await?.policies;
            output(json, &rows, || policies::policies(&rows))
        }
        Show::Generations => {
            let rows = client.show_generations(proto::ShowGenerationsRequest {}).await?.generations;
            output(json, &rows, || generations(&rows))
        }
        Show::Config => {
            let text = client.get_config(proto::GetConfigRequest {}).await?.toml;
            if !json {
                return super::print(text.as_bytes());
            }
            let config = shunt_config::parse(&text, "the running configuration").map_err(|errors| {
                Failure::refused(format!("{errors}; use the `shunt` that was installed with shuntd"))
            })?;
            output(json, &config, String::new)
        }
    }
}

/// `up` or `down`.
fn state(up: bool) -> String {
    if up { "up" } else { "down" }.to_owned()
}

/// The ports.
pub fn ports(rows: &[proto::Port]) -> String {
    if rows.is_empty() {
        return "there are no ports; add one with `shunt port add`\n".to_owned();
    }
    let mut table = Table::new(&[
        "PORT", "KIND", "NETWORK", "ADMIN", "OPER", "LINK", ">RX-PKTS", ">TX-PKTS", ">DROPS", ">MISSED",
        "ABOUT",
    ]);
    for row in rows {
        table.row([
            row.name.clone(),
            row.kind.clone(),
            row.network.clone(),
            state(row.admin_up),
            state(row.oper_up),
            state(row.link),
            row.rx_packets.to_string(),
            row.tx_packets.to_string(),
            row.drops.to_string(),
            row.missed.to_string(),
            row.about.clone(),
        ]);
    }
    table.render()
}

/// The MAC addresses.
pub fn fdb(rows: &[proto::FdbEntry]) -> String {
    if rows.is_empty() {
        return "no MAC address is known\n".to_owned();
    }
    let mut table = Table::new(&["NETWORK", "MAC", "PORT", "ORIGIN", ">AGE-S"]);
    for row in rows {
        let (origin, age) =
            if row.fixed { ("given", "-".to_owned()) } else { ("learned", row.age.to_string()) };
        table.row([row.network.clone(), row.mac.clone(), row.port.clone(), origin.to_owned(), age]);
    }
    table.render()
}

/// The workers.
pub fn workers(rows: &[proto::Worker]) -> String {
    let mut table = Table::new(&[
        ">WORKER",
        ">CORE",
        ">BUSY-%",
        ">ASLEEP-%",
        ">PACKETS",
        ">CYCLES/PKT",
        ">GENERATION",
        ">WORST-SWAP-US",
        "QUEUES",
    ]);
    for row in rows {
        table.row([
            row.worker.to_string(),
            row.core.map_or("-".to_owned(), |core| core.to_string()),
            format!("{:.1}", row.busy_percent),
            format!("{:.1}", row.asleep_percent),
            row.packets.to_string(),
            format!("{:.0}", row.cycles_per_packet),
            row.generation.to_string(),
            format!("{:.1}", row.worst_swap_us),
            row.queues.join(" "),
        ]);
    }
    format!("{}\n{}\n{}\n{}", table.render(), pace(rows), caches(rows), carried(rows))
}

/// What the workers' flow caches did, with an alarm for each that was wrong.
fn caches(rows: &[proto::Worker]) -> String {
    let uses = || rows.iter().filter_map(|row| Some((row.worker, row.cache?)));
    if uses().all(|(_, cache)| cache.capacity == 0) {
        return "the flow cache is off (`entries = 0` under [flow_cache])\n".to_owned();
    }
    let mut table = Table::new(&[
        ">WORKER",
        ">CACHE-FLOWS",
        ">HITS",
        ">MISSES",
        ">HIT-%",
        ">ENTERED",
        ">STALE",
        ">VERIFIED",
        ">UNSOUND",
    ]);
    for (worker, cache) in uses() {
        table.row([
            worker.to_string(),
            cache.capacity.to_string(),
            cache.hits.to_string(),
            cache.misses.to_string(),
            format!("{:.1}", cache.hit_percent),
            cache.entered.to_string(),
            cache.stale.to_string(),
            cache.verified.to_string(),
            cache.unsound.to_string(),
        ]);
    }
    let mut text = table.render();
    for (worker, cache) in uses().filter(|(_, cache)| cache.unsound > 0) {
        text.push_str(&format!(
            "ALARM: worker {worker} held {} cached decisions that the stages decide otherwise: a defect of the switch;\n\
             turn the cache off (`entries = 0` under [flow_cache], restart) and report it\n",
            cache.unsound
        ));
    }
    text
}

/// The topology: a few facts, then the networks, gateways and routes.
pub fn topology(row: &proto::Topology) -> String {
    let mbufs = row.mbufs.unwrap_or_default();
    let pages = if row.hugepages { "hugepages" } else { "ordinary pages" };
    let mut text = format!(
        "generation  {}\nuptime      {}\nports       {}\nworkers     {}\nbuffers     {} free of {}, in {pages}\n\n",
        row.generation,
        span(row.uptime),
        row.ports,
        row.workers,
        mbufs.free,
        mbufs.total,
    );
    if let Some(connections) = &row.connections {
        let at = text.len() - 1;
        text.insert_str(
            at,
            &format!(
                "connections {} of {} ({} %), {} half-open\n",
                connections.entries,
                connections.capacity,
                connections.pressure_percent,
                connections.half_open
            ),
        );
    }
    let mut table =
        Table::new(&["NETWORK", ">MTU", ">MACS", ">LIMIT", ">MOVES", ">REFUSED", ">NEIGHBORS", "PORTS-UP"]);
    for network in &row.networks {
        table.row([
            network.name.clone(),
            network.mtu.to_string(),
            network.macs.to_string(),
            network.mac_limit.to_string(),
            network.mac_moves.to_string(),
            network.mac_refused.to_string(),
            network.neighbors.to_string(),
            network.members.join(" "),
        ]);
    }
    text.push_str(&table.render());
    text.push_str(&routers(row));
    text
}

/// The drops.
pub fn drops(rows: &[proto::Drop]) -> String {
    if rows.is_empty() {
        return "nothing was dropped\n".to_owned();
    }
    let mut table = Table::new(&["PORT", "REASON", ">FRAMES", "MEANING"]);
    for row in rows {
        table.row([row.port.clone(), row.reason.clone(), row.count.to_string(), row.text.clone()]);
    }
    table.render()
}

/// The publications.
pub fn generations(rows: &[proto::Generation]) -> String {
    let micros = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    let mut table =
        Table::new(&[">GENERATION", ">AGE-S", ">BUILD-US", ">IN-FORCE-US", ">STALL-US", "CAUSE", "CHANGES"]);
    for row in rows {
        table.row([
            row.generation.to_string(),
            row.age.to_string(),
            micros(Some(row.build_us)),
            micros(row.in_force_us),
            micros(row.worst_stall_us),
            row.cause.clone(),
            row.changes.join(" "),
        ]);
    }
    table.render()
}

/// One line about the daemon.
pub fn health(row: &proto::Healthy) -> String {
    let failed = match row.ports_failed {
        0 => String::new(),
        failed => format!(", {failed} of them not open (see `shunt show ports`)"),
    };
    format!(
        "shuntd {} works: generation {}, up {}, ports: {}{failed}\n",
        row.version,
        row.generation,
        span(row.uptime),
        row.ports
    )
}

/// A time in at most two units.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match Duration::from_secs(seconds).as_secs() {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m {}s", seconds % 60),
        3600..86_400 => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}
