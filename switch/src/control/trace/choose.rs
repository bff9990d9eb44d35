//! What a trace puts where the expression says nothing: what a real station behind the port would have sent.

use std::collections::HashSet;
use std::net::IpAddr;

use shunt_config::IpNet;

use super::compose::documentation;
use super::expression::{ExpressionError, Probe};
use super::fields::{Family, Value};
use crate::control::flows::words;
use crate::pipeline::Ingress;
use crate::pipeline::link::group_mac;
use crate::topology::{Answers, Gateway, Network};
use crate::wire::ethernet::Mac;

/// A station that nobody knows.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NOBODY_ELSE: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// ARP operation "reply".
const REPLY: u16 = 2;

/// Chooses addresses for all that `probe` leaves open; returns what was chosen and why.
///
/// # Errors
/// The port has no Ethernet header and the expression gives one, or what no such port delivers.
pub(super) fn choose(probe: &mut Probe, ingress: &Ingress<'_>) -> Result<Vec<String>, ExpressionError> {
    let mut chosen = Chosen { probe, words: Vec::new() };
    if ingress.port.l3.is_some() {
        chosen.without_ethernet(ingress)?;
    } else {
        chosen.sender(ingress);
        chosen.receiver(ingress.network);
    }
    Ok(chosen.words)
}

struct Chosen<'p> {
    probe: &'p mut Probe,
    words: Vec<String>,
}

impl Chosen<'_> {
    fn set(&mut self, field: &'static str, value: Value, why: &str) {
        if self.probe.choose(field, value) {
            self.words.push(format!("{field}=={value} ({why})"));
        }
    }

    fn mac(&self, field: &str) -> Option<Mac> {
        self.probe.mac(field).map(Mac::from_bytes)
    }

    fn is_v6(&self) -> bool {
        self.probe.family() == Some(Family::Ip6)
    }

    /// An L3 port delivers 14 zero bytes but for the EtherType.
    fn without_ethernet(&mut self, ingress: &Ingress<'_>) -> Result<(), ExpressionError> {
        let refused = |what: &str| {
            let name = &ingress.port.name;
            Err(ExpressionError(format!(
                "{what}: {name} is an l3 port, its frames are bare IP packets; leave it out"
            )))
        };
        for field in ["eth.src", "eth.dst", "vlan.id", "vlan.tci", "vlan.inner.tci"] {
            if self.probe.value(field).is_some() {
                return refused(field);
            }
        }
        if !matches!(self.probe.family(), Some(Family::Ip4 | Family::Ip6)) {
            return refused(if self.probe.family().is_some() { "arp" } else { "eth.type" });
        }
        let (source, destination) = documentation(self.is_v6());
        let others = ingress.network.neighbors.iter().filter(|row| !row.neighbor.own);
        let theirs =
            others.map(|row| row.address).filter(|address| address.is_ipv6() == source.is_ipv6()).min();
        self.set("ip.src", Value::Address(source), "an address for documentation");
        let why = if theirs.is_some() { "a neighbour" } else { "an address for documentation" };
        self.set("ip.dst", Value::Address(theirs.unwrap_or(destination)), why);
        Ok(())
    }

    /// Who sends: a station behind the port, by preference one whose IP address is known.
    fn sender(&mut self, ingress: &Ingress<'_>) {
        let network = ingress.network;
        if let Some(demux) = network.demux.filter(|_| ingress.tag.is_none()) {
            return self.sharer(ingress, demux.mac);
        }
        let by_address =
            self.source_address().and_then(|address| network.neighbors.get(address)).map(|found| found.mac);
        let wanted = |address: IpAddr| address.is_ipv6() == self.is_v6();
        let known: HashSet<Mac> =
            network.neighbors.iter().filter(|row| wanted(row.address)).map(|row| row.neighbor.mac).collect();
        let behind =
            network.fdb.iter().filter(|entry| entry.place() == ingress.place()).map(|entry| entry.mac());
        match by_address.or_else(|| behind.min_by_key(|mac| (!known.contains(mac), mac.bytes()))) {
            Some(mac) => {
                let why = format!("a station behind {}", ingress.port.name);
                let why = if by_address.is_some() { "the sender's neighbour entry" } else { &why };
                self.set("eth.src", Value::Mac(mac.bytes()), why);
            }
            None => self.set("eth.src", Value::Mac(NOBODY), "no station is known behind the port"),
        }
        let field = if self.is_arp() { "arp.spa" } else { "ip.src" };
        let of_mac = self.mac("eth.src").and_then(|mac| address_of(network, mac, self.is_v6()));
        if of_mac.is_none()
            && self.probe.family().is_some()
            && let Some((address, subnet)) = in_subnet(network, self.is_v6())
        {
            self.set(field, Value::Address(address), &format!("in the subnet {subnet}"));
        }
        self.address(field, of_mac, documentation(self.is_v6()).0);
    }

    /// Who sends in a network whose stations share the address `shared`: the MAC table has each by a name of its own, which no frame
    /// has.
    fn sharer(&mut self, ingress: &Ingress<'_>, shared: Mac) {
        let network = ingress.network;
        self.set("eth.src", Value::Mac(shared.bytes()), "the address that the network's stations share");
        let behind = network.fdb.iter().filter(|entry| entry.place() == ingress.place());
        let mut known: Vec<_> =
            behind.filter_map(|entry| address_of(network, entry.mac(), self.is_v6())).collect();
        known.sort_unstable();
        let field = if self.is_arp() { "arp.spa" } else { "ip.src" };
        self.address(field, known.first().copied(), documentation(self.is_v6()).0);
    }

    fn is_arp(&self) -> bool {
        self.probe.family() == Some(Family::Arp)
    }

    fn source_address(&self) -> Option<IpAddr> {
        self.probe.address(if self.is_arp() { "arp.spa" } else { "ip.src" })
    }

    fn address(&mut self, field: &'static str, known: Option<IpAddr>, otherwise: IpAddr) {
        if self.probe.family().is_none() {
            return;
        }
        match known {
            Some(address) => self.set(field, Value::Address(address), "its neighbour entry"),
            None => self.set(field, Value::Address(otherwise), "an address for documentation"),
        }
    }

    /// Who receives: the station that has the destination address, else the gateway.
    fn receiver(&mut self, network: &Network) {
        if self.is_arp() {
            let reply = self.probe.number("arp.op") == Some(REPLY);
            let to = self.probe.mac("arp.tha").filter(|_| reply).unwrap_or([0xff; 6]);
            self.set("eth.dst", Value::Mac(to), if reply { "the target" } else { "a request" });
            return self.address("arp.tpa", None, documentation(false).1);
        }
        let destination = self.probe.address("ip.dst");
        let (mac, why) = match destination {
            None => (NOBODY_ELSE, "nobody".to_owned()),
            Some(address) => next_hop(network, address),
        };
        self.set("eth.dst", Value::Mac(mac), &why);
        let of_mac = self.mac("eth.dst").and_then(|mac| address_of(network, mac, self.is_v6()));
        self.address("ip.dst", of_mac, documentation(self.is_v6()).1);
    }
}

/// Whom a station of the network would send packets for `address` to.
fn next_hop(network: &Network, address: IpAddr) -> ([u8; 6], String) {
    if let Some(mac) = group_mac(address) {
        return (mac.bytes(), "its group address".to_owned());
    }
    // Who has a single address sends all to the gateway, and so does who is told that the gateway has every address.
    let by_gateway = |gateway: &&Gateway| {
        let answers_all = network.answers == Answers::Everybody;
        !gateway.owns(address) && (answers_all || gateway.source_for(address).is_none())
    };
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if let Some(gateway) = network.gateway.as_ref().filter(by_gateway).filter(|_| !link_local) {
        return (gateway.mac.bytes(), format!("the gateway {}", words::mac(gateway.mac)));
    }
    if let (Some(_), Some(demux)) = (network.neighbors.get(address), &network.demux) {
        return (demux.mac.bytes(), "the address that the network's stations share".to_owned());
    }
    if let Some(neighbor) = network.neighbors.get(address) {
        return (neighbor.mac.bytes(), format!("the neighbour {address}"));
    }
    (NOBODY_ELSE, format!("nobody has said to have {address}"))
}

/// The first address of the gateway's subnet that is not the gateway's.
fn in_subnet(network: &Network, v6: bool) -> Option<(IpAddr, IpNet)> {
    let gateway = network.gateway.as_ref()?;
    let (own, len) = gateway.addresses.iter().find(|(address, _)| address.is_ipv6() == v6)?;
    let subnet = IpNet::new(*own, *len).ok()?.trunc();
    let free = subnet.hosts().find(|address| !gateway.owns(*address))?;
    Some((free, subnet))
}

/// An IP address that the station is known to have.
fn address_of(network: &Network, mac: Mac, v6: bool) -> Option<IpAddr> {
    let rows = network.neighbors.iter().filter(|row| row.neighbor.mac == mac && row.address.is_ipv6() == v6);
    rows.map(|row| row.address).min()
}
