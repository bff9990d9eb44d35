//! Flow keys and actions in words, as `shunt dump-flows` and `shunt trace` print them.
//!
//! A key becomes the expression that `shunt trace` takes: fields that follow from others (the EtherType of an IPv4
//! address, the protocol of a TCP port) and those at their default are left out.

use std::fmt::Display;

use crate::flow::actions::Edits;
use crate::flow::key::{Depth, Fragment, L3, L4};
use crate::flow::{Actions, FlowKey, Verdict};
use crate::ids::{NetworkId, PortId};
use crate::topology::Topology;
use crate::wire::ethernet::{self, Mac};

/// Protocol numbers (IANA) whose ports the key has, and the names of their fields.
const TRANSPORTS: [(u8, &str); 5] = [(6, "tcp"), (17, "udp"), (132, "sctp"), (1, "icmp4"), (58, "icmp6")];

/// Names of ports and networks of one topology.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Generation of the topology.
    pub generation: u64,
    ports: Vec<Option<String>>,
    networks: Vec<String>,
}

impl Names {
    /// Those of `topology`.
    pub fn of(topology: &Topology) -> Self {
        let mut ports = Vec::new();
        for port in topology.ports() {
            ports.resize(port.id.index() + 1, None);
            ports[port.id.index()] = Some(port.name.to_string());
        }
        let networks = topology.networks().iter().map(|network| network.name.to_string()).collect();
        Self { generation: topology.generation(), ports, networks }
    }

    /// True when there is a port in slot `index`.
    pub fn knows(&self, index: usize) -> bool {
        self.ports.get(index).is_some_and(Option::is_some)
    }

    /// The port in slot `index`.
    pub fn port(&self, index: usize) -> String {
        self.ports.get(index).cloned().flatten().unwrap_or_else(|| format!("(slot {index})"))
    }

    /// A network.
    pub fn network(&self, id: NetworkId) -> String {
        self.networks.get(id.index()).cloned().unwrap_or_else(|| format!("(network {})", id.index()))
    }
}

/// An address as people write it.
pub fn mac(mac: Mac) -> String {
    shunt_config::MacAddr::from(mac).to_string()
}

/// Collects `field==value` terms.
#[derive(Default)]
struct Terms(Vec<String>);

impl Terms {
    fn is(&mut self, field: &str, value: impl Display) {
        self.0.push(format!("{field}=={value}"));
    }

    fn word(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }
}

/// The fields in a key, as an expression; the port is not among them.
pub fn key(key: &FlowKey) -> String {
    let mut terms = Terms::default();
    let marks = key.marks();
    terms.is("eth.src", mac(key.src()));
    terms.is("eth.dst", mac(key.dst()));
    vlan(key, &mut terms);
    match (key.addresses(), marks.l3) {
        (Some((source, destination)), _) => {
            let family = if source.is_ipv4() { "ip4" } else { "ip6" };
            terms.is(&format!("{family}.src"), source);
            terms.is(&format!("{family}.dst"), destination);
            network(key, &mut terms);
        }
        (None, l3) => {
            terms.is("eth.type", format_args!("{:#06x}", key.ethertype()));
            if l3 == L3::Malformed {
                terms.word("ip.malformed");
            }
        }
    }
    terms.0.join(" && ")
}

fn vlan(key: &FlowKey, terms: &mut Terms) {
    let (marks, (outer, inner)) = (key.marks(), key.vlan());
    if marks.tags > 0 {
        terms.is("vlan.tci", format_args!("{outer:#06x}"));
        if marks.service_tag {
            terms.is("vlan.tpid", "0x88a8");
        }
    }
    if marks.tags > 1 {
        terms.is("vlan.inner.tci", format_args!("{inner:#06x}"));
    }
}

/// What a key has of an IP packet behind its addresses.
fn network(key: &FlowKey, terms: &mut Terms) {
    let marks = key.marks();
    let transport = TRANSPORTS.iter().find(|(protocol, _)| *protocol == key.protocol());
    let known = transport.filter(|_| marks.l4 == L4::Known);
    if known.is_none() {
        terms.is("ip.proto", key.protocol());
    }
    match marks.fragment {
        Fragment::Whole => {}
        Fragment::First => terms.is("ip.frag", "first"),
        Fragment::Later => terms.is("ip.frag", "later"),
    }
    if marks.ttl_expired {
        terms.word("ip.ttl<=1");
    }
    // Of an IPv6 fragment the fragment header is one.
    if marks.options && (marks.l3 == L3::Ipv4 || marks.fragment == Fragment::Whole) {
        terms.word("ip.options");
    }
    if marks.depth == Depth::Transport && key.traffic_class() != 0 {
        terms.is("ip.tos", format_args!("{:#04x}", key.traffic_class()));
    }
    if marks.l4 == L4::Malformed {
        terms.word("ip.payload.malformed");
    }
    if let Some((protocol, name)) = known {
        ports(key, *protocol, name, terms);
    }
}

fn ports(key: &FlowKey, protocol: u8, name: &str, terms: &mut Terms) {
    let (src, dst) = key.ports();
    if matches!(protocol, 1 | 58) {
        terms.is(&format!("{name}.type"), src >> 8);
        terms.is(&format!("{name}.code"), src & 0xff);
        if dst != 0 {
            terms.is(&format!("{name}.id"), dst);
        }
        return;
    }
    terms.is(&format!("{name}.src"), src);
    terms.is(&format!("{name}.dst"), dst);
}

/// Actions in the order in which they are done, the verdict last.
pub fn actions(names: &Names, actions: &Actions) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    // What is dropped is not edited first.
    if !matches!(actions.verdict, Verdict::Drop(_) | Verdict::Reject(..)) {
        words.extend(edits(actions));
    }
    words.push(match actions.verdict {
        Verdict::Port(port) => format!("output:{}", name(names, port)),
        Verdict::Flood(_) | Verdict::FloodLocal(_) => "flood".to_owned(),
        Verdict::FloodInto(network) => format!("flood:{}", names.network(network)),
        Verdict::Reply => "reply".to_owned(),
        Verdict::Consume => "consume".to_owned(),
        Verdict::Drop(reason) => format!("drop({})", reason.name()),
        Verdict::Reject(reason, answer) => format!("reject({}, {})", reason.name(), answer.describe()),
    });
    words
}

fn name(names: &Names, port: PortId) -> String {
    names.port(port.index())
}

/// The edits alone.
fn edits(actions: &Actions) -> Vec<String> {
    let mut words = Vec::new();
    if actions.mtu != 0 {
        words.push(format!("check mtu {}", actions.mtu));
    }
    let mut when = |edit: Edits, text: String| {
        if actions.edits.has(edit) {
            words.push(text);
        }
    };
    let address = |at: usize| {
        let bytes = actions.macs.get(at..at + 6).and_then(<[u8]>::first_chunk).copied();
        mac(Mac::from_bytes(bytes.unwrap_or_default()))
    };
    let tag = if actions.edits.has(Edits::SERVICE_TAG) { "0x88a8" } else { "0x8100" };
    when(Edits::CLAMP_MSS, "clamp tcp.mss".to_owned());
    when(Edits::TRANSLATE, format!("translate #{}", actions.translation));
    when(Edits::TTL, "dec ip4.ttl".to_owned());
    when(Edits::HOP_LIMIT, "dec ip6.ttl".to_owned());
    when(Edits::MACS, format!("set eth.dst {}", address(0)));
    when(Edits::MACS, format!("set eth.src {}", address(6)));
    when(Edits::POP_VLAN, "pop vlan".to_owned());
    when(Edits::PUSH_VLAN, format!("push vlan {tag} {:#06x}", actions.tci));
    when(Edits::ENCAP, format!("push template #{}", actions.template));
    words
}

/// An EtherType by name where it has one.
pub fn ethertype(ethertype: u16) -> String {
    match ethertype {
        ethernet::IPV4 => "ipv4".to_owned(),
        ethernet::IPV6 => "ipv6".to_owned(),
        ethernet::ARP => "arp".to_owned(),
        other => format!("{other:#06x}"),
    }
}
