//! The way of a traced frame in numbered steps: the order and the stations of the sequence diagrams of reference 002.
//!
//! Out of an overlay there are ten: pod, port, route, neighbour, encap, route again, transport network, fdb, bond, wire. Of a pod
//! that shares its MAC address (ipvlan) there are nine on the way out, in the reference's phases 1 to 3, and four on the way
//! in, its phase 4. Every other way takes those of the same names that it needs. What kernel and Open vSwitch do there one after
//! the other, the switch does in one pass: the steps say what it found, not what it costs.

use std::fmt;
use std::net::IpAddr;

use super::notes::{self, Notes};
use super::row::TraceRow;
use crate::control::flows::words;
use crate::flow::actions::Edits;
use crate::flow::{Actions, FlowKey};
use crate::pipeline::Ingress;
use crate::topology::Topology;
use crate::wire::ethernet::{self, Mac};
use crate::wire::{arp, nd};

/// A thing that a stage found, in the order of finding.
#[derive(Debug)]
pub(super) enum Found {
    /// The switch answers: how.
    Answer(&'static str),
    /// It is for the node's own stack, or for the host's port of a demux network.
    Host(&'static str),
    /// A connection that translates it.
    Connection(String),
    /// Where a station is: its address, `behind PORT`.
    Station { mac: Mac, place: String },
    /// The route.
    Route(String),
    /// Who has the next hop's address.
    Neighbor { address: IpAddr, mac: Option<Mac> },
    /// The tunnel.
    Tunnel(Wrapped),
}

/// A tunnel's way: the second routing.
#[derive(Debug)]
pub(super) struct Wrapped {
    /// Kind, number and ends.
    pub(super) ends: String,
    /// The route to the other end.
    pub(super) route: String,
    /// The network of the outer packet with its tag, the place of the next hop, and the port; or why there is no way.
    pub(super) way: Result<(String, String, String), String>,
}

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    lines: Vec<String>,
    /// Which phase of the reference's second diagram the last steps belong to, to stand behind their names.
    phase: &'static str,
    /// The port that the tunnel packet leaves by.
    wrapped: Option<String>,
    /// It leaves with a tag or in a tunnel: the next machine is not a pod's.
    onto_wire: bool,
}

/// What the steps are made of.
pub(super) struct Journey<'a> {
    pub(super) topology: &'a Topology,
    pub(super) ingress: Ingress<'a>,
    pub(super) key: &'a FlowKey,
    /// What the frame says.
    pub(super) subject: String,
}

/// A route as a step says it, whose name is "route".
fn route(text: &str) -> String {
    text.replacen(": route ", " is in ", 1)
}

/// What a frame says, by its addresses; of a question for an address, the question. `message` is the frame without tag.
pub(super) fn subject(key: &FlowKey, message: &[u8]) -> String {
    if key.ethertype() == ethernet::ARP
        && let Some(message) = arp::parse(message)
    {
        let (sender, target) = (message.sender_ip, message.target_ip);
        return match message.operation {
            arp::Operation::Request => format!("{sender} asks who has {target} (ARP)"),
            arp::Operation::Reply => {
                format!("{sender} says that it has {} (ARP)", words::mac(message.sender_mac))
            }
        };
    }
    if let Some(message) = nd::parse(message) {
        return if message.solicitation {
            format!("{} asks who has {} (neighbour discovery)", message.source, message.target)
        } else {
            format!("{} is announced (neighbour discovery)", message.target)
        };
    }
    match key.addresses() {
        Some((source, destination)) => format!("{source} sends to {destination}"),
        None => format!("{} sends to {}", words::mac(key.src()), words::mac(key.dst())),
    }
}

impl Journey<'_> {
    /// The steps up to where the frame leaves.
    pub(super) fn steps(&self, notes: &Notes<'_>, actions: &Actions) -> Steps {
        let shares = self.ingress.network.demux.is_some();
        let from_wire = self.ingress.tag.is_some() || self.ingress.peer.is_some();
        let tag = actions.edits.has(Edits::PUSH_VLAN).then(|| format!("tag {}", actions.tci & 0xfff));
        let phase = match (shares, from_wire) {
            (true, true) => ", phase 4",
            (true, false) => ", phase 3",
            (false, _) => "",
        };
        let onto_wire = tag.is_some() || actions.edits.has(Edits::ENCAP);
        let mut steps = Steps { phase, onto_wire, ..Steps::default() };
        if shares && !from_wire {
            self.out_of_ipvlan(tag.as_deref(), &mut steps);
        } else {
            self.begin(&mut steps);
        }
        let source = actions.macs.last_chunk().copied().map(Mac::from_bytes);
        let source = source.filter(|_| actions.edits.has(Edits::MACS)).unwrap_or(self.key.src());
        steps.middle(&notes.found, shares, source);
        if let Some(tag) = tag.filter(|_| !shares || from_wire) {
            steps.push("vlan", format_args!("{tag} pushed"));
        }
        steps
    }

    /// How it came in.
    fn begin(&self, steps: &mut Steps) {
        let Ingress { port, network, tag, peer } = &self.ingress;
        let (name, subject, of) = (&port.name, &self.subject, &network.name);
        if let Some(peer) = peer {
            steps.push("wire", format_args!("into {name}, for a tunnel that ends here"));
            let overlay = self.topology.overlay(network.id);
            let tunnel = overlay.and_then(|overlay| Some((overlay, overlay.tunnel(*peer)?)));
            let from = tunnel.map_or_else(String::new, |(overlay, tunnel)| {
                format!("{} from {}, ", notes::encap_in_words(overlay.planned.encap), tunnel.remote)
            });
            steps.push("decap", format_args!("{from}network {of}: {subject}"));
        } else if let Some(tci) = tag {
            steps.push("wire", format_args!("into {name}, tag {}: {subject}", tci & 0xfff));
            steps.push("vlan", format_args!("the tag is taken off: network {of}"));
        } else {
            let who = if port.identity.is_some() { "pod" } else { "sender" };
            steps.push(who, format_args!("{subject}"));
            steps.push("port", format_args!("into {name}, network {of}"));
        }
    }

    /// The first six or seven steps of reference 002's second diagram: the pod, the ipvlan driver, the VLAN.
    fn out_of_ipvlan(&self, tag: Option<&str>, steps: &mut Steps) {
        let Ingress { port, network, .. } = &self.ingress;
        let (src, dst) = (words::mac(self.key.src()), words::mac(self.key.dst()));
        steps.phase = ", phase 1";
        steps.push("pod", format_args!("{}", self.subject));
        if self.key.dst().is_group() {
            steps.push("pod", format_args!("to all on its link"));
        } else {
            steps.push("pod", format_args!("its own ARP gave it {dst}"));
        }
        steps.push("pod", format_args!("frame from {src} to {dst}, no tag"));
        steps.phase = ", phase 2";
        steps.push("ipvlan", format_args!("out of {}, as it is", port.name));
        steps.push("ipvlan", format_args!("network {}", network.name));
        steps.phase = ", phase 3";
        if let Some(tag) = tag {
            steps.push("vlan", format_args!("{tag} pushed"));
        }
        if network.demux.is_some_and(|demux| demux.mac == self.key.src()) {
            steps.push("bridge", format_args!("{src} is what all stations of {} share", network.name));
        } else {
            steps.push("bridge", format_args!("{src} is a station's own address"));
        }
    }
}

impl Steps {
    fn push(&mut self, name: &str, text: fmt::Arguments<'_>) {
        self.lines.push(format!("{name}{}: {text}", self.phase));
    }

    /// The switch answers by itself.
    pub(super) fn answer(&mut self, how: &str) {
        self.push("answer", format_args!("{how}"));
    }

    /// What was looked up and found. In a network whose stations share (`shares`) a MAC address, they are looked up by IP address.
    /// `source` is the MAC address that the frame leaves with.
    fn middle(&mut self, found: &[Found], shares: bool, source: Mac) {
        let mut wanted = None;
        for found in found {
            match found {
                Found::Answer(how) => self.push("answer", format_args!("{how}")),
                Found::Connection(what) => self.push("connection", format_args!("{what}")),
                Found::Host(why) => self.push("host", format_args!("{why}")),
                Found::Route(text) => self.push("route", format_args!("{}", route(text))),
                Found::Neighbor { address, mac: Some(_) } if shares => wanted = Some(*address),
                Found::Neighbor { address, mac: None } if shares => {
                    self.push("demux", format_args!("no station has {address}"));
                }
                Found::Neighbor { address, mac: Some(mac) } => {
                    let (to, from) = (words::mac(*mac), words::mac(source));
                    self.push(
                        "neighbour",
                        format_args!("{address} has {to}: the frame goes there from {from}"),
                    );
                }
                Found::Neighbor { address, mac: None } => {
                    self.push("neighbour", format_args!("{address} is not known"));
                }
                Found::Station { mac, place } => match wanted.take() {
                    Some(address) => self.push("demux", format_args!("{address} is {place}")),
                    None if shares => self.push("bridge", format_args!("{} is {place}", words::mac(*mac))),
                    None => self.push("fdb", format_args!("{} is {place}", words::mac(*mac))),
                },
                Found::Tunnel(wrapped) => self.wrap(wrapped),
            }
        }
    }

    /// Steps 5 to 9 of reference 002's first diagram.
    fn wrap(&mut self, wrapped: &Wrapped) {
        // Which peer has the station is part of the encapsulation there.
        let fdb = self.lines.pop_if(|last| last.starts_with("fdb: "));
        let station = fdb.map_or_else(String::new, |fdb| format!("{}: ", fdb.trim_start_matches("fdb: ")));
        self.push("encap", format_args!("{station}{}", wrapped.ends));
        self.push("route", format_args!("again: {}", route(&wrapped.route)));
        match &wrapped.way {
            Ok((network, place, port)) => {
                self.push("network", format_args!("{network}"));
                self.push("fdb", format_args!("{place}"));
                self.wrapped = Some(port.clone());
            }
            Err(why) => self.push("network", format_args!("{why}")),
        }
    }

    /// Step 9 of reference 002's first diagram: the member of a bond, by a hash of what leaves. `hash` says what of it.
    fn bond(&mut self, row: &TraceRow, hash: Option<&str>) {
        let Some(port) = self.wrapped.take() else { return };
        let Some(output) = row.outputs.iter().find(|output| output.port == port) else { return };
        match (hash, &output.member) {
            (None, _) => self.push("bond", format_args!("{port} is one device: nothing to choose")),
            (Some(hash), Some(member)) => {
                self.push(
                    "bond",
                    format_args!("the {hash} hash of the outer headers chooses {member} of {port}"),
                );
            }
            (Some(_), None) => self.push("bond", format_args!("no member of {port} carries traffic")),
        }
    }

    /// All steps of `row`, the last of them how the frame leaves, or that it does not. None when it was not admitted. `hash` is what
    /// the bond that it leaves by hashes.
    pub(super) fn end(mut self, row: &TraceRow, hash: Option<&str>) -> Vec<String> {
        if self.lines.is_empty() {
            return self.lines;
        }
        self.bond(row, hash);
        let length = row.after.as_ref().unwrap_or(&row.before).length;
        let name = if self.onto_wire { "wire" } else { "port" };
        match &row.outputs[..] {
            _ if row.drop.is_some() => self.push("end", format_args!("{}", row.verdict)),
            [] => self.push("end", format_args!("{}", row.verdict)),
            [only] => self.push(name, format_args!("out of {}, {length} bytes, {}", only.port, only.outcome)),
            many => {
                let each: Vec<String> =
                    many.iter().map(|row| format!("{} {}", row.port, row.outcome)).collect();
                self.push("ports", format_args!("{}", each.join(", ")));
            }
        }
        self.lines
    }
}
