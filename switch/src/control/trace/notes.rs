//! The observer of a trace: writes down, table by table, what the stages looked up and found.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;
use shunt_config::IpNet;

use super::steps::{Found, Wrapped};
use crate::control::flows::words;
use crate::encap::Encap;
use crate::ids::NetworkId;
use crate::pipeline::lookup::{GATEWAY, GROUP};
use crate::pipeline::{Observe, Step, link};
use crate::state::Tuple;
use crate::table::fdb::Place;
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

/// What a note is about, for whoever wants to know of which table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// A route, or that there is none.
    Route,
    /// Where a station is.
    Station,
    /// Who has an address.
    Neighbor(IpAddr),
    /// A tunnel.
    Tunnel,
    /// A policy's judgement.
    Policy,
    /// A service.
    Service,
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
    /// What was found, for the numbered steps.
    pub(super) found: Vec<Found>,
    /// Of the notes those that are about something.
    pub(super) about: Vec<(About, String)>,
}

impl<'t> Notes<'t> {
    pub(super) fn new(network: &'t Network) -> Self {
        Self {
            network,
            tables: Vec::new(),
            stations: BTreeSet::new(),
            addresses: BTreeSet::new(),
            found: Vec::new(),
            about: Vec::new(),
        }
    }

    fn note_about(&mut self, about: About, text: String) {
        self.about.push((about, text.clone()));
        self.note(text);
    }

    fn note(&mut self, text: String) {
        match self.tables.last_mut() {
            Some(table) => table.steps.push(text),
            // A stage that speaks before its table begins.
            None => self.tables.push(TableRow { table: 0, name: "ingress", steps: vec![text] }),
        }
    }

    /// The prefix by which the router of `network` found a route.
    fn prefix(topology: &Topology, network: &Network, address: IpAddr) -> Option<IpNet> {
        let router = topology.router(network.gateway.as_ref()?.router)?;
        let holds = router.fib.iter().map(|row| row.prefix).filter(|prefix| prefix.contains(&address));
        holds.max_by_key(IpNet::prefix_len)
    }

    fn route(topology: &Topology, network: &Network, address: IpAddr, route: Option<Route>) -> String {
        let name = |id: NetworkId| {
            topology.network(id).map_or_else(|| "?".to_owned(), |network| network.name.to_string())
        };
        let prefix = Self::prefix(topology, network, address)
            .map_or_else(|| "?".to_owned(), |prefix| prefix.to_string());
        match route {
            Some(Route::Connected(id)) => {
                format!("{address}: route {prefix}, connected to network {}", name(id))
            }
            Some(Route::Via(id, hop)) => {
                format!("{address}: route {prefix} via {hop} in network {}", name(id))
            }
            Some(Route::Blackhole) => format!("{address}: route {prefix}, blackhole"),
            Some(Route::Unreachable) => format!("{address}: route {prefix}, unreachable"),
            None => format!("{address}: no route"),
        }
    }
}

pub(super) fn encap_in_words(encap: Encap) -> String {
    match encap {
        Encap::Vxlan { vni } => format!("vxlan id {vni}"),
        Encap::Geneve { vni, .. } => format!("geneve id {vni}"),
        Encap::Gre { key: Some(key), .. } => format!("gre key {key}"),
        Encap::Gre { .. } => "gre".to_owned(),
        Encap::IpIp => "ip in ip".to_owned(),
    }
}

/// Where a station of `network` is.
fn place_in_words(topology: &Topology, network: &Network, place: Option<Place>) -> String {
    match place {
        Some(Place::Port(id)) => topology
            .port(id)
            .map_or_else(|| "behind a port that is gone".to_owned(), |port| format!("behind {}", port.name)),
        Some(Place::Peer(peer)) => {
            let tunnel = topology.overlay(network.id).and_then(|overlay| overlay.tunnel(peer));
            tunnel.map_or_else(
                || "behind a peer that is gone".to_owned(),
                |tunnel| format!("behind peer {}", tunnel.remote),
            )
        }
        None => "behind no known port".to_owned(),
    }
}

/// The way of a tunnel for the numbered steps.
fn wrapped(topology: &Topology, overlay: &Overlay, tunnel: &Tunnel) -> Wrapped {
    let planned = &overlay.planned;
    let remote = tunnel.remote;
    let local = planned.local_to(remote).map_or_else(|| "?".to_owned(), |local| local.to_string());
    let ends = format!("{} from {local} to {remote}", encap_in_words(planned.encap));
    let carrier = topology.network(planned.transport);
    let route = carrier.map_or_else(String::new, |carrier| {
        let router = carrier.gateway.as_ref().and_then(|gateway| topology.router(gateway.router));
        Notes::route(topology, carrier, remote, router.and_then(|router| router.fib.get(remote)))
    });
    let way = match &tunnel.way {
        Ok(way) => topology
            .network(way.network)
            .and_then(|network| Some((network, topology.port(way.port)?)))
            .map(|(network, port)| {
                let tag = network.tag_at(way.port);
                let tag = tag.map_or_else(|| "no tag".to_owned(), |tag| format!("tag {}", tag.vid));
                let mac = network.neighbors.get(way.hop).map(|neighbor| neighbor.mac);
                let mac = mac.map_or_else(|| way.hop.to_string(), words::mac);
                let name = port.name.to_string();
                (format!("{}, {tag}", network.name), format!("{mac} is behind {name}"), name)
            })
            .ok_or_else(|| "its port is gone".to_owned()),
        Err(Blocked::By(reason)) => Err(reason.describe().to_owned()),
        Err(Blocked::Unresolved(question)) => Err(format!("neighbour {} is not known", question.target)),
    };
    Wrapped { ends, route, way }
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
            Step::Matched(what) => {
                self.note(format!("matched {what}"));
                if what == GATEWAY || what == GROUP {
                    return;
                }
                self.found.push(Found::Host(what));
            }
            Step::Station(topology, network, mac, place) => {
                self.stations.insert(mac);
                let place = place_in_words(topology, network, place);
                self.note_about(About::Station, format!("{} is {place}", words::mac(mac)));
                self.found.push(Found::Station { mac, place });
            }
            Step::Route(topology, address, route) => {
                self.addresses.insert(address);
                let text = Self::route(topology, self.network, address, route);
                self.note_about(About::Route, text.clone());
                self.found.push(Found::Route(text));
            }
            Step::Neighbor(address, mac) => {
                self.addresses.insert(address);
                self.stations.extend(mac);
                let text = match mac {
                    Some(mac) => format!("neighbour {address} has {}", words::mac(mac)),
                    None => format!("neighbour {address} is not known"),
                };
                self.note_about(About::Neighbor(address), text);
                self.found.push(Found::Neighbor { address, mac });
            }
            Step::Tunnel(topology, overlay, tunnel) => {
                self.note_about(About::Tunnel, tunnel_in_words(topology, overlay, tunnel));
                self.found.push(Found::Tunnel(wrapped(topology, overlay, tunnel)));
            }
            Step::Rewrote(what) => {
                self.note(format!("made {what}"));
                if what != link::HEADER {
                    self.found.push(Found::Answer(what));
                }
            }
            Step::Connection(to) => {
                let text = format!("a known connection: goes on as {}", endpoints(to));
                self.note(text.clone());
                self.found.push(Found::Connection(text));
            }
            Step::Service(front) => {
                let (name, kind) = (&front.row.service().name, front.kind.describe());
                self.note_about(About::Service, format!("{kind} of service {name}"));
            }
            Step::Floating(external, internal) => {
                let text = format!("floating address {external} stands for {internal}");
                self.note(text.clone());
                self.found.push(Found::Connection(text));
            }
            Step::Forward(external, internal) => {
                let text = format!("port {external} leads to {internal}");
                self.note(text.clone());
                self.found.push(Found::Connection(text));
            }
            Step::Backend(address, port) => {
                let text = format!("opens a connection to backend {}", SocketAddr::new(address, port));
                self.note(text.clone());
                self.found.push(Found::Connection(text));
            }
            Step::Noted(what) => self.note(what.to_owned()),
            Step::Policy(direction, judgement) => {
                self.note_about(About::Policy, format!("{}: {}", direction.name(), judgement.describe()));
            }
            Step::Masquerade(source) => {
                let text = format!("opens a connection, masqueraded as {source}");
                self.note(text.clone());
                self.found.push(Found::Connection(text));
            }
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
