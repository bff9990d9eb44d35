//! The observer of a trace: writes down, table by table, what the stages looked up and found.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use shunt_config::IpNet;

use crate::control::flows::words;
use crate::encap::Encap;
use crate::ids::NetworkId;
use crate::pipeline::{Observe, Step};
use crate::state::Tuple;
use crate::table::fib::Route;
use crate::topology::tunnels::{Blocked, Overlay, Tunnel};
use crate::topology::{Network, Topology};
use crate::wire::ethernet::Mac;

/// A logical table that the frame went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableRow {
    /// Number.
    pub table: u8,
    /// Name.
    pub name: &'static str,
    /// What was looked up and found.
    pub steps: Vec<String>,
}

/// What the stages told.
#[derive(Debug)]
pub(super) struct Notes<'t> {
    /// The ingress network, whose router routes.
    network: &'t Network,
    pub(super) tables: Vec<TableRow>,
    /// Stations that were looked up.
    pub(super) stations: BTreeSet<Mac>,
    /// Addresses that were looked up.
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(network: &'t Network) -> Self {
        Self { network, tables: Vec::new(), stations: BTreeSet::new(), addresses: BTreeSet::new() }
    }

    fn note(&mut self, text: String) {
        match self.tables.last_mut() {
            Some(table) => table.steps.push(text),
            // A stage that speaks before its table begins.
            None => self.tables.push(TableRow { table: 0, name: "ingress", steps: vec![text] }),
        }
    }

    /// The prefix by which the ingress network's router found a route.
    fn prefix(&self, topology: &Topology, address: IpAddr) -> Option<IpNet> {
        let router = topology.router(self.network.gateway.as_ref()?.router)?;
        let holds = router.fib.iter().map(|row| row.prefix).filter(|prefix| prefix.contains(&address));
        holds.max_by_key(IpNet::prefix_len)
    }

    fn route(&self, topology: &Topology, address: IpAddr, route: Option<Route>) -> String {
        let name = |id: NetworkId| {
            topology.network(id).map_or_else(|| "?".to_owned(), |network| network.name.to_string())
        };
        let prefix =
            self.prefix(topology, address).map_or_else(|| "?".to_owned(), |prefix| prefix.to_string());
        match route {
            Some(Route::Connected(id)) => {
                format!("{address}: route {prefix}, connected to network {}", name(id))
            }
            Some(Route::Via(id, hop)) => {
                format!("{address}: route {prefix} via {hop} in network {}", name(id))
            }
            Some(Route::Blackhole) => format!("{address}: route {prefix}, blackhole"),
            None => format!("{address}: no route"),
        }
    }
}

fn encap_in_words(encap: Encap) -> String {
    match encap {
        Encap::Vxlan { vni } => format!("vxlan id {vni}"),
        Encap::Geneve { vni, .. } => format!("geneve id {vni}"),
        Encap::Gre { key: Some(key), .. } => format!("gre key {key}"),
        Encap::Gre { .. } => "gre".to_owned(),
        Encap::IpIp => "ip in ip".to_owned(),
    }
}

/// The second routing: of the wrapped packet, in the network that carries it.
fn tunnel_in_words(topology: &Topology, overlay: &Overlay, tunnel: &Tunnel) -> String {
    let planned = &overlay.planned;
    let local = planned.local_to(tunnel.remote).map_or_else(|| "?".to_owned(), |local| local.to_string());
    let ends = format!("{} from {local} to {}", encap_in_words(planned.encap), tunnel.remote);
    let network = |id| topology.network(id).map_or("?", |network| network.name.as_str());
    match tunnel.way {
        Ok(way) => {
            let port = topology.port(way.port).map_or("?", |port| port.name.as_str());
            format!("{ends}, by {} in network {}, out of {port}", way.hop, network(way.network))
        }
        Err(Blocked::By(reason)) => format!("{ends}: {}", reason.describe()),
        Err(Blocked::Unresolved(question)) => {
            format!(
                "{ends}: neighbour {} in network {} is not known",
                question.target,
                network(question.network)
            )
        }
    }
}

impl Observe for Notes<'_> {
    fn step(&mut self, step: Step<'_>) {
        match step {
            Step::Table(table, name) => self.tables.push(TableRow { table, name, steps: Vec::new() }),
            Step::Matched(what) => self.note(format!("matched {what}")),
            Step::Address(mac, port) => {
                self.stations.insert(mac);
                let mac = words::mac(mac);
                self.note(match port {
                    Some(port) => format!("{mac} is behind {port}"),
                    None => format!("{mac} is behind no known port"),
                });
            }
            Step::Route(topology, address, route) => {
                self.addresses.insert(address);
                let text = self.route(topology, address, route);
                self.note(text);
            }
            Step::Neighbor(address, mac) => {
                self.addresses.insert(address);
                self.stations.extend(mac);
                self.note(match mac {
                    Some(mac) => format!("neighbour {address} has {}", words::mac(mac)),
                    None => format!("neighbour {address} is not known"),
                });
            }
            Step::Tunnel(topology, overlay, tunnel) => {
                let text = tunnel_in_words(topology, overlay, tunnel);
                self.note(text);
            }
            Step::Connection(to) => self.note(format!("a known connection: goes on as {}", endpoints(to))),
            Step::Masquerade(source) => self.note(format!("opens a connection, masqueraded as {source}")),
            Step::Rewrote(what) => self.note(format!("made {what}")),
            // Told by the trace itself, together with what the ports say to it.
            Step::Verdict(..) => {}
        }
    }
}

/// From where to where.
fn endpoints(tuple: &Tuple) -> String {
    let parts = tuple.parts();
    if tuple.echo().is_some() || !tuple.has_ports() {
        return format!("{} -> {}", parts.source, parts.destination);
    }
    let end = SocketAddr::new;
    format!("{} -> {}", end(parts.source, parts.source_port), end(parts.destination, parts.destination_port))
}
