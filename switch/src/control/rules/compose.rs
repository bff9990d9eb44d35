//! Rows of the tables as rules.

use std::net::IpAddr;

use super::RuleRow;
use super::uses::{Family, RuleId};
use crate::control::flows::words;
use crate::control::picture::Picture;
use crate::encap::Encap;
use crate::ids::NetworkId;
use crate::pipeline::{encap, ingress, lookup, nexthop};
use crate::table::fdb::Place;
use crate::table::fib::{Route, Row};
use crate::topology::tunnels::Blocked;
use crate::topology::{Gateway, Network, Port, Router, RouterId, Tag};

/// Table 20, output.
const OUTPUT: u8 = 20;
/// A group address, as a value with its mask.
const GROUP: &str = "01:00:00:00:00:00/01:00:00:00:00:00";

/// Priorities: refusals and answers before what is let in; in table 16 a longer prefix before a shorter one, that of a single
/// IPv4 address being as high as that of a MAC address.
pub(super) mod priority {
    pub(in super::super) const REFUSE: u16 = 200;
    pub(in super::super) const ANSWER: u16 = 110;
    /// Answers for others: not for the switch's own addresses.
    pub(in super::super) const PROXY: u16 = 108;
    /// An owner's own ARP and ND.
    pub(in super::super) const CLAIM: u16 = 102;
    pub(in super::super) const ADMIT: u16 = 100;
    /// With somebody else's address.
    pub(in super::super) const SPOOFED: u16 = 95;
    pub(in super::super) const ADMIT_OTHER: u16 = 90;
    /// From a MAC address that is nobody's there.
    pub(in super::super) const STRANGER: u16 = 80;
    pub(in super::super) const SHARED: u16 = 155;
    pub(in super::super) const SHARED_HOST: u16 = 152;
    pub(in super::super) const TO_ROUTER: u16 = 150;
    pub(in super::super) const GROUP: u16 = 60;
    pub(in super::super) const STATION: u16 = 50;
    pub(in super::super) const HOP: u16 = 100;
    pub(in super::super) const NEIGHBOR: u16 = 50;
    pub(in super::super) const OUTPUT: u16 = 100;

    /// Of a route.
    pub(in super::super) fn prefix(v4: bool, len: u8) -> u16 {
        if v4 { 18 + u16::from(len) } else { 1 + u16::from(len) }
    }
}

/// Collects rules.
pub(super) struct Rules<'p> {
    picture: &'p Picture,
    /// There are several networks: rules say which one they are of.
    several: bool,
    rules: Vec<(RuleId, RuleRow)>,
}

/// All rules of `networks`.
pub(super) fn rules(picture: &Picture, networks: &[&Network]) -> Vec<(RuleId, RuleRow)> {
    let mut rules = Rules { picture, several: picture.networks.len() > 1, rules: Vec::new() };
    let all = networks.len() == picture.networks.len();
    for network in networks {
        rules.ingress(network);
        rules.lookup(network);
        rules.next_hops(network);
        rules.tunnels(network);
    }
    for router in &picture.routers {
        let of_router =
            |network: &&&Network| network.gateway.as_ref().is_some_and(|gateway| gateway.router == router.id);
        if networks.iter().any(|network| of_router(&network)) {
            rules.routes(router);
        }
    }
    for port in &picture.ports {
        if all || networks.iter().any(|network| port.attachments().any(|(id, _)| id == network.id)) {
            rules.output(port);
        }
    }
    rules.rules
}

impl Rules<'_> {
    pub(super) fn add(
        &mut self,
        id: RuleId,
        table: u8,
        priority: u16,
        terms: Vec<String>,
        actions: Vec<String>,
    ) {
        let rule = RuleRow {
            table,
            priority,
            r#match: terms.into_iter().filter(|term| !term.is_empty()).collect(),
            actions: actions.into_iter().filter(|action| !action.is_empty()).collect(),
            packets: 0,
            bytes: 0,
            cookie: 0,
            age_us: 0,
        };
        self.rules.push((id, rule));
    }

    /// The term that says which network a rule is of; empty when there is only one.
    pub(super) fn of(&self, network: NetworkId) -> String {
        if self.several { format!("metadata={:#x}", network.index() + 1) } else { String::new() }
    }

    /// The action that goes on in another network.
    fn enter(&self, network: NetworkId) -> String {
        if self.several { format!("write_metadata:{:#x}", network.index() + 1) } else { String::new() }
    }

    /// Table 0: refusals, answers, and one rule for each port and family.
    fn ingress(&mut self, network: &Network) {
        let of = self.of(network.id);
        let refused = |rules: &mut Self, term: String| {
            rules.add(RuleId::None, ingress::TABLE, priority::REFUSE, vec![of.clone(), term], drop());
        };
        refused(self, format!("dl_src={GROUP}"));
        if let Some(gateway) = &network.gateway {
            refused(self, format!("dl_src={}", words::mac(gateway.mac)));
            self.own_end(network, gateway);
        }
        let mut own: Vec<_> = network.neighbors.iter().filter(|row| row.neighbor.own).collect();
        own.sort_by_key(|row| row.address);
        for row in own {
            let terms = match row.address {
                IpAddr::V4(address) => {
                    vec!["arp".into(), of.clone(), format!("arp_tpa={address}"), "arp_op=1".into()]
                }
                IpAddr::V6(address) => {
                    vec!["icmp6".into(), of.clone(), "icmp_type=135".into(), format!("nd_target={address}")]
                }
            };
            let answer = vec![format!("mod_dl_src:{}", words::mac(row.neighbor.mac)), "IN_PORT".into()];
            self.add(RuleId::None, ingress::TABLE, priority::ANSWER, terms, answer);
        }
        self.proxy_answers(network);
        let ports = &self.picture.ports;
        for port in ports.iter().filter(|port| port.up) {
            for (_, tag) in port.attachments().filter(|(id, _)| *id == network.id) {
                if let Some(identity) = &port.identity {
                    let vlan = tag.map_or_else(String::new, |tag| format!("dl_vlan={}", tag.vid));
                    let strip = if tag.is_some() { "strip_vlan" } else { "" };
                    let enter = self.enter(network.id);
                    self.given_senders(port, network, identity, (&vlan, strip, &enter));
                    continue;
                }
                for (family, word) in [(Family::Ipv4, "ip"), (Family::Ipv6, "ipv6"), (Family::Other, "")] {
                    let priority = if word.is_empty() { priority::ADMIT_OTHER } else { priority::ADMIT };
                    let vlan = match (tag, &port.vlans) {
                        (Some(tag), _) => format!("dl_vlan={}", tag.vid),
                        // No tag, or one with a priority alone.
                        (None, Some(_)) => "vlan_tci=0x0000/0x0fff".to_owned(),
                        (None, None) => String::new(),
                    };
                    let strip = tag.map_or_else(String::new, |_| "strip_vlan".to_owned());
                    let terms = vec![word.to_owned(), format!("in_port={}", port.name), vlan];
                    let actions = vec![strip, self.enter(network.id), goto(lookup::TABLE)];
                    let id = RuleId::Ingress(port.id, network.id, family);
                    self.add(id, ingress::TABLE, priority, terms, actions);
                }
            }
        }
    }

    /// What is for this node alone in an overlay is as what is for the gateway.
    fn own_end(&mut self, network: &Network, gateway: &Gateway) {
        let mut known = network.neighbors.iter().filter(|row| gateway.owns(row.address));
        let Some(own) = known.find(|row| row.neighbor.mac != gateway.mac) else { return };
        let (of, mac) = (self.of(network.id), words::mac(own.neighbor.mac));
        let refused = vec![of.clone(), format!("dl_src={mac}")];
        self.add(RuleId::None, ingress::TABLE, priority::REFUSE, refused, drop());
        let terms = vec![of, format!("dl_dst={mac}")];
        let again =
            vec![format!("mod_dl_dst:{}", words::mac(gateway.mac)), format!("resubmit(,{})", ingress::TABLE)];
        self.add(RuleId::None, ingress::TABLE, priority::REFUSE, terms, again);
    }

    /// Table 16 by MAC address.
    fn lookup(&mut self, network: &Network) {
        let of = self.of(network.id);
        let id = network.id;
        if let Some(gateway) = &network.gateway {
            let terms = vec![of.clone(), format!("dl_dst={}", words::mac(gateway.mac))];
            let route = vec![
                format!("set_field:{:#x}->reg14", reg14(gateway.router)),
                format!("resubmit(,{})", lookup::TABLE),
            ];
            self.add(RuleId::Gateway(id), lookup::TABLE, priority::TO_ROUTER, terms, route);
        }
        self.demux(network);
        let group = vec![of.clone(), format!("dl_dst={GROUP}")];
        self.add(RuleId::Group(id), lookup::TABLE, priority::GROUP, group, vec!["FLOOD".into()]);
        // Those who share an address have names of their own there, which no frame has.
        let named = |mac| network.neighbors.iter().any(|row| row.neighbor.mac == mac);
        let is_name = |mac| network.demux.is_some() && named(mac);
        let known = network.fdb.iter().filter(|entry| !is_name(entry.mac()));
        let mut stations: Vec<_> = known.map(|entry| (entry.mac(), entry.place())).collect();
        stations.sort_unstable_by_key(|(mac, _)| mac.bytes());
        for (mac, place) in stations {
            let terms = vec![of.clone(), format!("dl_dst={}", words::mac(mac))];
            let actions = self.leave(network, place);
            self.add(RuleId::Station(id, mac), lookup::TABLE, priority::STATION, terms, actions);
        }
        self.add(RuleId::Unknown(id), lookup::TABLE, 0, vec![of], vec!["FLOOD".into()]);
    }

    /// Table 16 by IP address.
    fn routes(&mut self, router: &Router) {
        let of = format!("reg14={:#x}", reg14(router.id));
        let joined = self.picture.networks.iter().filter_map(|network| network.gateway.as_ref());
        let own: Vec<IpAddr> = joined
            .filter(|gateway| gateway.router == router.id)
            .flat_map(|gateway| gateway.addresses.iter().map(|(address, _)| *address))
            .collect();
        for address in own {
            let terms = vec![family(address), of.clone(), destination(address, &address.to_string())];
            self.add(RuleId::None, lookup::TABLE, priority::REFUSE, terms, vec!["LOCAL".into()]);
        }
        for row in router.fib.iter() {
            self.route(router, &of, row);
        }
        let id = RuleId::NoRoute(router.id);
        self.add(id, lookup::TABLE, 0, vec![of], drop());
    }

    fn route(&mut self, router: &Router, of: &str, row: &Row) {
        let Row { prefix, route } = *row;
        let (address, len) = (prefix.addr(), prefix.prefix_len());
        let shown = match (len, len == prefix.max_prefix_len()) {
            (0, _) => String::new(),
            (_, true) => destination(address, &address.to_string()),
            _ => destination(address, &prefix.to_string()),
        };
        let terms = vec![family(address), of.to_owned(), shown];
        let actions = match route {
            Route::Connected(network) => {
                vec!["dec_ttl".into(), self.enter(network), goto(nexthop::TABLE)]
            }
            Route::Via(network, hop) => {
                vec!["dec_ttl".into(), self.enter(network), set_hop(hop), goto(nexthop::TABLE)]
            }
            Route::Blackhole | Route::Unreachable => drop(),
        };
        let priority = priority::prefix(address.is_ipv4(), len);
        self.add(RuleId::Route(router.id, prefix), lookup::TABLE, priority, terms, actions);
    }

    /// Table 17: the neighbours of a network that is routed into.
    fn next_hops(&mut self, network: &Network) {
        let Some(gateway) = &network.gateway else { return };
        let of = self.of(network.id);
        let hops = self.picture.hops();
        let mut known: Vec<_> = network.neighbors.iter().filter(|row| !row.neighbor.own).collect();
        known.sort_by_key(|row| row.address);
        for row in known {
            let address = row.address;
            let mut actions = vec![
                format!("mod_dl_src:{}", words::mac(gateway.mac)),
                format!("mod_dl_dst:{}", words::mac(network.mac_on_wire(&row.neighbor))),
            ];
            actions.extend(match network.fdb.get(row.neighbor.mac) {
                Some(entry) => self.leave(network, entry.place()),
                None => vec!["FLOOD".into()],
            });
            let id = RuleId::Neighbor(network.id, address);
            if hops.contains(&(network.id, address)) {
                let terms = vec![family(address), of.clone(), hop(address)];
                self.add(id, nexthop::TABLE, priority::HOP, terms, actions);
            } else {
                let terms = vec![family(address), of.clone(), destination(address, &address.to_string())];
                self.add(id, nexthop::TABLE, priority::NEIGHBOR, terms, actions);
            }
        }
        // The packet is lost and the switch asks for the neighbour.
        let ask = vec!["controller(reason=no_match)".to_owned()];
        self.add(RuleId::NoNeighbor(network.id), nexthop::TABLE, 0, vec![of], ask);
    }

    /// Table 18: the peers of an overlay. The device is the overlay's own; which port the wrapped packet leaves by is the
    /// transport network's affair.
    fn tunnels(&mut self, network: &Network) {
        let Some(overlay) = self.picture.overlay(network.id) else { return };
        let of = self.of(network.id);
        for (peer, tunnel) in (0..).zip(&overlay.tunnels) {
            let Some(tunnel) = tunnel else { continue };
            let terms = vec![of.clone(), format!("reg13={:#x}", reg13(peer))];
            let local = overlay.planned.local_to(tunnel.remote);
            let actions = match tunnel.way {
                Ok(_) => vec![
                    tunnel_id(overlay.planned.encap),
                    local.map_or_else(String::new, |local| format!("set_field:{local}->tun_src")),
                    format!("set_field:{}->tun_dst", tunnel.remote),
                    format!("output:{}", network.name),
                ],
                Err(Blocked::Unresolved(_)) => vec!["controller(reason=no_match)".to_owned()],
                Err(Blocked::By(_)) => drop(),
            };
            self.add(RuleId::Tunnel(network.id, peer), encap::TABLE, priority::OUTPUT, terms, actions);
        }
    }

    /// The actions that send a frame of `network` out of a port.
    pub(super) fn leave(&self, network: &Network, to: Place) -> Vec<String> {
        let to = match to {
            Place::Port(to) => to,
            Place::Peer(peer) => {
                return vec![format!("set_field:{:#x}->reg13", reg13(peer)), goto(encap::TABLE)];
            }
        };
        let Some(port) = self.picture.port(to) else { return drop() };
        let tag = network.tag_at(to);
        let mut actions = tag.map_or_else(Vec::new, |Tag { vid, service }| {
            let tpid = if service { "0x88a8" } else { "0x8100" };
            // The bit says that there is a tag (OpenFlow 1.3 section 7.2.3.7).
            vec![format!("push_vlan:{tpid}"), format!("set_field:{}->vlan_vid", vid | 0x1000)]
        });
        actions.push(format!("output:{}", port.name));
        actions
    }

    /// Table 20.
    fn output(&mut self, port: &Port) {
        let terms = vec![format!("actset_output={}", port.name)];
        let actions = if port.up { vec![format!("output:{}", port.name)] } else { drop() };
        self.add(RuleId::Output(port.id), OUTPUT, priority::OUTPUT, terms, actions);
    }
}

pub(super) fn drop() -> Vec<String> {
    vec!["drop".to_owned()]
}

pub(super) fn goto(table: u8) -> String {
    format!("goto_table:{table}")
}

/// What a rule has in `reg14` for a router: never 0, which is no router.
fn reg14(router: RouterId) -> usize {
    router.index() + 1
}

/// What a rule has in `reg13` for a peer: never 0, which is none.
fn reg13(peer: u16) -> u32 {
    u32::from(peer) + 1
}

/// The action that sets the number of a tunnel; empty for those that have none.
fn tunnel_id(encap: Encap) -> String {
    match encap {
        Encap::Vxlan { vni } | Encap::Geneve { vni, .. } => format!("set_field:{vni:#x}->tun_id"),
        Encap::Gre { key: Some(key), .. } => format!("set_field:{key:#x}->tun_id"),
        Encap::Gre { .. } | Encap::IpIp => String::new(),
    }
}

fn family(address: IpAddr) -> String {
    if address.is_ipv4() { "ip" } else { "ipv6" }.to_owned()
}

fn destination(address: IpAddr, shown: &str) -> String {
    format!("{}={shown}", if address.is_ipv4() { "nw_dst" } else { "ipv6_dst" })
}

fn hop(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("reg0={:#x}", address.to_bits()),
        IpAddr::V6(address) => format!("xxreg0={:#x}", address.to_bits()),
    }
}

fn set_hop(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("set_field:{:#x}->reg0", address.to_bits()),
        IpAddr::V6(address) => format!("set_field:{:#x}->xxreg0", address.to_bits()),
    }
}
