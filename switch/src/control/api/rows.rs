//! Rows of [`status`](crate::control::status) as messages, field by field. JSON made of a message is the JSON of its
//! row; the test holds them together.

mod bonds;

use super::proto;
use crate::control::flows::FlowRow;
use crate::control::picture::{NeighborEntry, RouteEntry};
use crate::control::rules::RuleRow;
use crate::control::status::{
    CacheUse, Carried, ConnectionTableRow, Cycles, DropRow, FdbRow, GenerationRow, Iterations, NetworkRow,
    PortRow, RouteRow, RouterRow, TopologyRow, WorkerDrop, WorkerRow,
};
use crate::control::trace::{FrameRow, OutputRow, TableRow, TraceRow};
use crate::control::{Applied, ConnectionStatistics};

/// Indices and counts of things that are far fewer than 2^32.
fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl From<Applied> for proto::Applied {
    fn from(applied: Applied) -> Self {
        let names = |ports: Vec<shunt_config::PortName>| ports.iter().map(ToString::to_string).collect();
        Self {
            generation: applied.generation,
            added: names(applied.added),
            removed: names(applied.removed),
            changed: names(applied.changed),
            notes: applied.notes,
        }
    }
}

impl From<PortRow> for proto::Port {
    fn from(row: PortRow) -> Self {
        let place = |(queue, worker)| proto::QueuePlace { queue: u32::from(queue), worker: small(worker) };
        Self {
            name: row.name,
            kind: row.kind,
            network: row.network,
            admin_up: row.admin_up,
            oper_up: row.oper_up,
            link: row.link,
            mtu: u32::from(row.mtu),
            queues: row.queues.into_iter().map(place).collect(),
            rx_packets: row.rx_packets,
            rx_bytes: row.rx_bytes,
            tx_packets: row.tx_packets,
            tx_bytes: row.tx_bytes,
            taken: row.taken,
            full_bursts: row.full_bursts,
            drops: row.drops,
            missed: row.missed,
            deaths: row.deaths,
            seconds: row.seconds,
            about: row.about,
            slot: row.slot,
            tag: row.tag.map(u32::from),
            trunks: row.trunks.into_iter().map(u32::from).collect(),
            service_tag: row.service_tag,
            endpoints: row.endpoints,
            rx_ring: row.rx_ring.map(u32::from),
            tx_ring: row.tx_ring.map(u32::from),
        }
    }
}

impl From<FdbRow> for proto::FdbEntry {
    fn from(row: FdbRow) -> Self {
        Self {
            network: row.network,
            mac: row.mac,
            port: row.port,
            fixed: row.fixed,
            age: row.age,
            peer: row.peer,
        }
    }
}

impl From<WorkerRow> for proto::Worker {
    fn from(row: WorkerRow) -> Self {
        let Cycles { total, busy, slept, hz } = row.cycles;
        Self {
            worker: small(row.worker),
            core: row.core.map(small),
            packets: row.packets,
            busy_percent: row.busy_percent,
            asleep_percent: row.asleep_percent,
            cycles_per_packet: row.cycles_per_packet,
            iterations: row.iterations,
            sleeps: row.sleeps,
            queues: row.queues,
            generation: row.generation,
            worst_swap_us: row.worst_swap_us,
            lessons_lost: row.lessons_lost,
            tx_contended: row.tx_contended,
            replies: row.replies,
            replies_limited: row.replies_limited,
            held: row.held,
            cycles: Some(proto::Cycles { total, busy, slept, hz }),
            cache: Some(row.cache.into()),
            pace: Some(row.pace.into()),
            steal_seconds: row.steal_seconds,
            waited_seconds: row.waited_seconds,
            carried: Some(row.carried.into()),
        }
    }
}

impl From<Carried> for proto::WorkerCarried {
    fn from(row: Carried) -> Self {
        let Carried { rx_packets, rx_bytes, tx_packets, tx_bytes, taken, drops } = row;
        let drop = |WorkerDrop { reason, count }| proto::WorkerDrop { reason: reason.to_owned(), count };
        let drops = drops.into_iter().map(drop).collect();
        Self { rx_packets, rx_bytes, tx_packets, tx_bytes, taken, drops }
    }
}

impl From<Iterations> for proto::Iterations {
    fn from(row: Iterations) -> Self {
        let Iterations { busy, full, full_percent, p99_us, late, worst_late_us, late_age, latency } = row;
        Self { busy, full, full_percent, p99_us, late, worst_late_us, late_age, latency }
    }
}

impl From<CacheUse> for proto::CacheUse {
    fn from(row: CacheUse) -> Self {
        let CacheUse { capacity, hits, misses, hit_percent, entered, stale, verified, unsound } = row;
        Self { capacity: capacity as u64, hits, misses, hit_percent, entered, stale, verified, unsound }
    }
}

impl From<DropRow> for proto::Drop {
    fn from(row: DropRow) -> Self {
        Self { port: row.port, reason: row.reason.to_owned(), count: row.count, text: row.text.to_owned() }
    }
}

impl From<GenerationRow> for proto::Generation {
    fn from(row: GenerationRow) -> Self {
        Self {
            generation: row.generation,
            cause: row.cause,
            changes: row.changes,
            age: row.age,
            build_us: row.build_us,
            in_force_us: row.in_force_us,
            worst_stall_us: row.worst_stall_us,
            worst_before_us: row.worst_before_us,
        }
    }
}

impl From<NetworkRow> for proto::Network {
    fn from(row: NetworkRow) -> Self {
        Self {
            name: row.name,
            members: row.members,
            macs: row.macs as u64,
            mac_limit: row.mac_limit,
            mac_moves: row.mac_moves,
            mac_refused: row.mac_refused,
            neighbors: row.neighbors as u64,
            neighbors_refused: row.neighbors_refused,
            mtu: u32::from(row.mtu),
            router: row.router,
            gateways: row.gateways,
            gateway_mac: row.gateway_mac,
            peers_wrong: row.peers_wrong,
        }
    }
}

impl From<RouterRow> for proto::Router {
    fn from(row: RouterRow) -> Self {
        let route =
            |RouteRow { to, via, network, unreachable }| proto::Route { to, via, network, unreachable };
        Self {
            name: row.name,
            networks: row.networks,
            route_count: row.route_count as u64,
            routes: row.routes.into_iter().map(route).collect(),
        }
    }
}

impl From<TopologyRow> for proto::Topology {
    fn from(row: TopologyRow) -> Self {
        let (total, free) = row.mbufs;
        Self {
            generation: row.generation,
            networks: row.networks.into_iter().map(Into::into).collect(),
            routers: row.routers.into_iter().map(Into::into).collect(),
            ports: row.ports as u64,
            workers: row.workers as u64,
            mbufs: Some(proto::Mbufs { total, free }),
            hugepages: row.hugepages,
            uptime: row.uptime,
            connections: row.connections.map(|table| {
                let ConnectionTableRow { entries, capacity, half_open, pressure_percent } = table;
                proto::ConnectionTable { entries, capacity, half_open, pressure_percent }
            }),
        }
    }
}

impl From<ConnectionStatistics> for proto::ConnectionStatistics {
    fn from(row: ConnectionStatistics) -> Self {
        let refused = row.refused.into_iter();
        let zones = row.zones.into_iter();
        Self {
            capacity: row.capacity,
            entries: row.entries,
            half_open: row.half_open,
            pressure_percent: crate::control::status::percent(row.entries, row.capacity),
            bytes: row.bytes,
            fragments: row.fragments,
            found: row.found,
            opened: row.opened,
            expired: row.expired,
            deleted: row.deleted,
            refused: refused
                .map(|(reason, count)| proto::RefusedPackets { reason: reason.name().to_owned(), count })
                .collect(),
            zones: zones
                .map(|(zone, router, entries, half_open)| proto::Zone {
                    zone: u32::from(zone),
                    router,
                    entries,
                    half_open,
                })
                .collect(),
        }
    }
}

impl From<FlowRow> for proto::Flow {
    fn from(row: FlowRow) -> Self {
        Self {
            worker: small(row.worker),
            port: row.port,
            r#match: row.r#match,
            packets: row.packets,
            bytes: row.bytes,
            age: row.age,
            generation: row.generation,
            stale: row.stale,
            actions: row.actions,
        }
    }
}

impl From<RouteEntry> for proto::RouteEntry {
    fn from(row: RouteEntry) -> Self {
        let RouteEntry { router, to, kind, via, network, port, source, onlink } = row;
        Self { router, to, kind: kind.to_owned(), via, network, port, source, onlink }
    }
}

impl From<NeighborEntry> for proto::NeighborEntry {
    fn from(row: NeighborEntry) -> Self {
        let NeighborEntry { network, address, mac, port, fixed, own, age } = row;
        Self { network, address, mac, port, fixed, own, age }
    }
}

impl From<RuleRow> for proto::Rule {
    fn from(row: RuleRow) -> Self {
        let RuleRow { table, priority, r#match, actions, packets, bytes, cookie, age_us } = row;
        let (table, priority) = (u32::from(table), u32::from(priority));
        Self { table, priority, r#match, actions, packets, bytes, cookie, age_us }
    }
}

impl From<FrameRow> for proto::TracedFrame {
    fn from(row: FrameRow) -> Self {
        Self { hex: row.hex, length: row.length, summary: row.summary }
    }
}

impl From<TableRow> for proto::TracedTable {
    fn from(row: TableRow) -> Self {
        Self { table: u32::from(row.table), name: row.name.to_owned(), steps: row.steps }
    }
}

impl From<OutputRow> for proto::TracedOutput {
    fn from(row: OutputRow) -> Self {
        Self { port: row.port, outcome: row.outcome, drop: row.drop.map(str::to_owned), member: row.member }
    }
}

impl From<TraceRow> for proto::Traced {
    fn from(row: TraceRow) -> Self {
        Self {
            generation: row.generation,
            port: row.port,
            network: row.network,
            assumed: row.assumed,
            before: Some(row.before.into()),
            r#match: row.r#match,
            tables: row.tables.into_iter().map(Into::into).collect(),
            actions: row.actions,
            after: row.after.map(Into::into),
            verdict: row.verdict,
            drop: row.drop.map(str::to_owned),
            outputs: row.outputs.into_iter().map(Into::into).collect(),
            cacheable: row.cacheable,
            rests_on: row.rests_on,
            effects: row.effects,
            steps: row.steps,
        }
    }
}

#[cfg(test)]
mod tests;
