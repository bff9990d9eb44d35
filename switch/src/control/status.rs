//! What `shunt show` prints: plain rows, collected on the control thread, the same for tables and JSON.

mod carried;
mod cpu;
mod networks;
mod services;
mod workers;

use serde::Serialize;
use std::time::{Duration, SystemTime};

use super::Control;
use crate::drop::DropReason;
use crate::ids::PortId;
use crate::port::DeviceStatus;
use crate::table::fdb::Place;
use crate::topology::Topology;

pub use carried::{Carried, WorkerDrop};
pub(crate) use cpu::TICKS;
pub use networks::{NetworkRow, RouteRow, RouterRow};
pub use workers::{CacheUse, Cycles, Iterations, WorkerRow};

/// A port.
#[derive(Clone, Debug, Serialize)]
pub struct PortRow {
    /// Name.
    pub name: String,
    /// Kind, as in the configuration.
    pub kind: String,
    /// Network.
    pub network: String,
    /// Administrative state.
    pub admin_up: bool,
    /// Device open.
    pub oper_up: bool,
    /// Carrier, or the other side attached.
    pub link: bool,
    /// Longest IP packet, bytes.
    pub mtu: u16,
    /// Queue number and worker index.
    pub queues: Vec<(u16, usize)>,
    /// Frames received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Received frames that the switch itself took: answers to its own questions.
    pub taken: u64,
    /// Times that a receive queue gave a whole burst: more may have waited.
    pub full_bursts: u64,
    /// Frames dropped by us, all reasons.
    pub drops: u64,
    /// Frames lost below us (kernel socket, NIC ring).
    pub missed: u64,
    /// Times the device went away.
    pub deaths: u64,
    /// Descriptors of each receive queue, of DPDK devices.
    pub rx_ring: Option<u16>,
    /// The same of each transmit queue.
    pub tx_ring: Option<u16>,
    /// Seconds in the present state.
    pub seconds: u64,
    /// Driver and details, or why the device is not open.
    pub about: String,
    /// Number of its slot.
    pub slot: u32,
    /// VLAN of its untagged frames.
    pub tag: Option<u16>,
    /// VLANs of its tagged frames.
    pub trunks: Vec<u16>,
    /// Its tags are service tags.
    pub service_tag: bool,
    /// Stations given by configuration, each with its addresses.
    pub endpoints: Vec<String>,
}

/// How full the connection table is.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ConnectionTableRow {
    /// Connections.
    pub entries: u64,
    /// Connections that there is room for.
    pub capacity: u64,
    /// Handshakes under way among them.
    pub half_open: u64,
    /// How full it is, percent.
    pub pressure_percent: f64,
}

/// A part of a whole, percent, to a tenth.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 1000.0 / whole as f64).round() / 10.0 }
}

/// A MAC address.
#[derive(Clone, Debug, Serialize)]
pub struct FdbRow {
    /// Network.
    pub network: String,
    /// Address.
    pub mac: String,
    /// Port.
    pub port: String,
    /// Given by configuration.
    pub fixed: bool,
    /// Seconds since traffic was last seen.
    pub age: u32,
    /// Address of the peer behind which it is; empty when it is behind a port.
    pub peer: String,
}

/// Frames dropped at one port for one reason.
#[derive(Clone, Debug, Serialize)]
pub struct DropRow {
    /// Port.
    pub port: String,
    /// Stable name of the reason.
    pub reason: &'static str,
    /// Frames.
    pub count: u64,
    /// What it means.
    pub text: &'static str,
}

/// A publication.
#[derive(Clone, Debug, Serialize)]
pub struct GenerationRow {
    /// Generation.
    pub generation: u64,
    /// What made it necessary.
    pub cause: String,
    /// Changes.
    pub changes: Vec<String>,
    /// Seconds since.
    pub age: u64,
    /// Microseconds to build.
    pub build_us: f64,
    /// Microseconds until all workers ran it.
    pub in_force_us: Option<f64>,
    /// Microseconds of the worst iteration that took it over.
    pub worst_stall_us: Option<f64>,
    /// Microseconds of the worst iteration right before.
    pub worst_before_us: Option<f64>,
}

/// The running topology in short.
#[derive(Clone, Debug, Serialize)]
pub struct TopologyRow {
    /// Generation.
    pub generation: u64,
    /// Networks.
    pub networks: Vec<NetworkRow>,
    /// Routers.
    pub routers: Vec<RouterRow>,
    /// Ports.
    pub ports: usize,
    /// Workers.
    pub workers: usize,
    /// Buffers in the pool and how many are free.
    pub mbufs: (u32, u32),
    /// Frames live in hugepages.
    pub hugepages: bool,
    /// Seconds since start.
    pub uptime: u64,
    /// The connection table; `None` while no network keeps connections.
    pub connections: Option<ConnectionTableRow>,
}

/// What is said of a port whose pod is not known.
const WAITS: &str = "closed until its pod is known (needs_pod)";

impl Control {
    /// All ports by name.
    pub fn ports(&mut self) -> Vec<PortRow> {
        let devices = self.ports.device_statuses();
        let mut rows: Vec<PortRow> =
            self.ports.iter().zip(devices).map(|(port, device)| self.port_row(port, device)).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    fn port_row(&self, port: &super::ports::PortState, status: DeviceStatus) -> PortRow {
        let (id, totals) = (port.id, self.totals(port));
        let topology = self.publisher.current();
        let vlans = topology.port(id).and_then(|port| port.vlans.as_ref());
        PortRow {
            name: port.config.name.to_string(),
            kind: port.config.kind.name().to_owned(),
            network: port.config.network.to_string(),
            admin_up: port.config.admin_up,
            oper_up: port.is_open(),
            link: status.link,
            mtu: self.port_mtu(&port.config),
            queues: port.queues().to_vec(),
            rx_packets: totals.rx_packets,
            rx_bytes: totals.rx_bytes,
            tx_packets: totals.tx_packets,
            tx_bytes: totals.tx_bytes,
            taken: totals.taken,
            full_bursts: totals.full_bursts,
            drops: totals.drops.iter().sum(),
            missed: totals.missed + status.missed,
            deaths: totals.deaths,
            rx_ring: status.rings.map(|rings| rings.rx),
            tx_ring: status.rings.map(|rings| rings.tx),
            seconds: port.since.elapsed().as_secs(),
            about: match port.why_closed() {
                Some(why) => why.to_owned(),
                None if self.policies.is_awaited(&port.config.name) => WAITS.to_owned(),
                None => status.about,
            },
            slot: id.index() as u32,
            tag: vlans.and_then(|_| self.config.untagged_vlan(&port.config)),
            trunks: vlans.map_or_else(Vec::new, |vlans| vlans.tagged.iter().map(|(vid, _)| *vid).collect()),
            service_tag: vlans.is_some_and(|vlans| vlans.service),
            endpoints: port.config.endpoints.iter().map(endpoint).collect(),
        }
    }

    fn port_name(&self, id: PortId) -> String {
        self.ports.get(id).map_or_else(|| format!("(slot {id})"), |port| port.config.name.to_string())
    }

    /// All known MAC addresses.
    pub fn fdb(&self) -> Vec<FdbRow> {
        let now = self.now();
        let mut rows = Vec::new();
        let topology = self.publisher.current();
        for (_, domain) in self.domains.iter() {
            let Some(lessons) = self.learned.get(&domain.name) else { continue };
            rows.extend(lessons.rows(now).into_iter().map(|(mac, place, fixed, age)| FdbRow {
                network: domain.name.to_string(),
                mac: shunt_config::MacAddr::from(mac).to_string(),
                port: match place {
                    Place::Port(port) => self.port_name(port),
                    Place::Peer(peer) => format!("peer {peer}"),
                },
                fixed,
                age: if fixed { 0 } else { age },
                peer: remote(topology, &domain.name, place),
            }));
        }
        rows.sort_by(|a, b| (&a.network, &a.mac).cmp(&(&b.network, &b.mac)));
        rows
    }

    /// All drops that happened, by port and reason.
    pub fn drops(&self) -> Vec<DropRow> {
        let mut rows = Vec::new();
        for port in self.ports.iter() {
            let totals = self.totals(port);
            for &reason in DropReason::ALL {
                let count = totals.dropped(reason);
                if count > 0 {
                    let (name, text) = (reason.name(), reason.describe());
                    rows.push(DropRow { port: port.config.name.to_string(), reason: name, count, text });
                }
            }
        }
        rows
    }

    /// The newest publications, newest first.
    pub fn generations(&self) -> Vec<GenerationRow> {
        let age = |at: SystemTime| at.elapsed().unwrap_or_default().as_secs();
        self.reports
            .iter()
            .rev()
            .map(|report| GenerationRow {
                generation: report.generation,
                cause: report.cause.clone(),
                changes: report.changes.clone(),
                age: age(report.at),
                build_us: micros(report.build),
                in_force_us: report.in_force.map(micros),
                worst_stall_us: report.worst_stall.map(micros),
                worst_before_us: report.worst_before.map(micros),
            })
            .collect()
    }

    /// The running topology.
    pub fn topology(&self) -> TopologyRow {
        let current = self.publisher.current();
        TopologyRow {
            generation: current.generation(),
            networks: self.network_rows(current),
            routers: networks::router_rows(current),
            ports: current.ports().count(),
            workers: self.workers.len(),
            mbufs: (self.config.memory.mbufs, self.site.pool.available()),
            hugepages: self.hugepages,
            uptime: self.started.elapsed().as_secs(),
            connections: self.connections.row(),
        }
    }
}

/// The address of the peer at a place of a network; empty when it is a port.
fn remote(topology: &Topology, name: &shunt_config::NetworkName, place: Place) -> String {
    let Place::Peer(peer) = place else { return String::new() };
    let network = topology.networks().iter().find(|network| network.name == *name);
    let overlay = network.and_then(|network| topology.overlay(network.id));
    let tunnel = overlay.and_then(|overlay| overlay.tunnel(peer));
    tunnel.map_or_else(String::new, |tunnel| tunnel.remote.to_string())
}

fn endpoint(endpoint: &shunt_config::Endpoint) -> String {
    endpoint.ip.iter().fold(endpoint.mac.to_string(), |text, ip| format!("{text} {ip}"))
}

fn micros(duration: Duration) -> f64 {
    (duration.as_nanos() as f64 / 100.0).round() / 10.0
}
