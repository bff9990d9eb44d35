//! `kubeovn.io/v1 Subnet`: a network.
//!
//! | Subnet | network |
//! |---|---|
//! | with `vlan` | `underlay`, `bridged`: pods are stations of the physical network, whose `gateway` is nobody of ours |
//! | with `vlan` and `logicalGateway` | the same with the gateway here, routed by `vpc` |
//! | without `vlan` | `overlay` over Geneve with the gateway on every node, routed by `vpc` |
//!
//! `natOutgoing` is the key `masquerade`, where the gateway is here.
//!
//! A network of that name that is there already keeps what a Subnet does not say: mode and host port, tunnels and peers.
//! What a new overlay needs besides is in two annotations, `shunt/transport` and `shunt/vni`.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::{Reported, Sink};
use crate::names::{NetworkName, RouterName};
use crate::network::Network;
use crate::network::kind::{NetworkKind, Underlay, UnderlayMode};
use crate::network::mtu::{self, Mtu};
use crate::network::overlay::{Dscp, Encap, GENEVE_PORT, Overlay, Payload, Return, VNI_MAX};
use crate::raw::{Raw, quote};
use crate::router::prefix;
use crate::vlan::{VID_MAX, VID_MIN};
use crate::{Config, value};

use super::object::{Object, is_off};
use super::vlan::Vlan;

/// Fields that say what becomes of the network. `cidr` is how older texts write `cidrBlock`.
const USED: &[&str] = &[
    "cidrBlock",
    "cidr",
    "gateway",
    "protocol",
    "vpc",
    "vlan",
    "mtu",
    "logicalGateway",
    "gatewayType",
    "natOutgoing",
    "provider",
];

/// Fields that ask for what a switch does not do; who does it need not be told by us.
const NOTED: &[(&str, &str)] = &[
    ("excludeIps", "whoever hands out addresses must heed it; shunt hands out none"),
    ("namespaces", "whoever hands out addresses must heed it; shunt knows no namespaces"),
    ("namespaceSelectors", "whoever hands out addresses must heed it; shunt knows no namespaces"),
    ("default", "whoever hands out addresses must heed it; shunt has no default subnet"),
    ("disableGatewayCheck", "nothing to turn off: shunt does not ping gateways"),
    ("enableLb", "Services are not translated yet; the field has no effect"),
];

/// Fields that ask for what is not built: refused unless they are off.
const REFUSED: &[(&str, &str)] = &[
    ("private", POLICY),
    ("allowSubnets", POLICY),
    ("allowEWTraffic", POLICY),
    ("acls", POLICY),
    ("gatewayNode", GATEWAY_NODE),
    ("gatewayNodeSelectors", GATEWAY_NODE),
    ("externalEgressGateway", GATEWAY_NODE),
    ("enableEcmp", GATEWAY_NODE),
    ("policyRoutingPriority", GATEWAY_NODE),
    ("policyRoutingTableID", GATEWAY_NODE),
    ("natOutgoingPolicyRules", NAT),
    ("enableExternalLBAddress", NAT),
    (
        "u2oInterconnection",
        "routes between underlay and overlay are those of the router; give it a network in both",
    ),
    (
        "u2oInterconnectionIP",
        "routes between underlay and overlay are those of the router; give it a network in both",
    ),
    ("enableDHCP", "shunt is no DHCP server"),
    ("dhcpV4Options", "shunt is no DHCP server"),
    ("dhcpV6Options", "shunt is no DHCP server"),
    ("enableIPv6RA", "shunt sends no router advertisements"),
    ("ipv6RAConfigs", "shunt sends no router advertisements"),
    ("vips", "addresses that several pods share are not supported"),
    ("routeTable", "a router has one table"),
    ("htbqos", "rates are not limited"),
    ("enableMulticastSnoop", "multicast is flooded"),
];

const POLICY: &str = "who may talk to whom is said by policies (NetworkPolicy, AdminNetworkPolicy)";
const GATEWAY_NODE: &str = "every node is the gateway of its own pods (gatewayType distributed)";
const NAT: &str = "what leaves has the router's address (natOutgoing), for all pods alike";

/// A Subnet as a network.
#[derive(Debug)]
pub(super) struct Subnet {
    pub(super) network: Network,
    /// Its router, which may have to be made.
    pub(super) router: Option<RouterName>,
    pub(super) notes: Vec<String>,
}

/// The network that `object` asks for beside those of `running`.
pub(super) fn read(
    object: &Object<'_>,
    vlans: &HashMap<String, Vlan>,
    running: &Config,
    sink: &mut Sink,
) -> Result<Subnet, Reported> {
    let known: Vec<&str> = USED.iter().copied().chain(names(NOTED)).chain(names(REFUSED)).collect();
    let mut outcome = object.refuse_others(&known, sink);
    for (key, why) in REFUSED {
        if object.field(key).is_some_and(|value| !is_off(value)) {
            outcome = Err(object.report(
                &format!("spec.{key}"),
                format!("cannot be honoured: {why}; remove it"),
                sink,
            ));
        }
    }
    let nat = object.read("natOutgoing", value::boolean, sink)?;
    object.read("gatewayType", gateway_type, sink)?;
    object.read("provider", provider, sink)?;
    let subnets = subnets(object, sink)?;
    let gateways = gateways(object, &subnets, sink)?;
    let mtu = object.read("mtu", subnet_mtu, sink)?.unwrap_or(Mtu::Auto);
    let name = NetworkName::new(&object.name)
        .map_err(|error| object.report("metadata.name", format!("{}: {error}", quote(&object.name)), sink))?;
    let logical = object.read("logicalGateway", value::boolean, sink)?.unwrap_or(false);
    let vpc = object.read("vpc", value::parsed::<RouterName>, sink)?;
    let vpc = vpc.or_else(|| RouterName::new("ovn-cluster").ok());
    let before = running.network(name.as_str());
    let (kind, routed) = match object.field("vlan") {
        Some(_) => {
            let place = place(object, vlans, running, sink)?;
            (underlay(place, before), logical)
        }
        None => (overlay(object, running, before, sink)?, true),
    };
    if nat == Some(true) && !routed {
        let message = "cannot be honoured: the gateway, which would translate, is a physical one; set it to false, or \
                       logicalGateway to true";
        outcome = Err(object.report("spec.natOutgoing", message, sink));
    }
    outcome?;
    let mut network = Network { mtu, kind, name, ..before.cloned().unwrap_or_default() };
    let router = vpc.filter(|_| routed);
    if router.is_some() {
        network.router.clone_from(&router);
        network.gateways = gateways;
        network.masquerade = nat.unwrap_or(network.masquerade);
    }
    let noted = NOTED.iter().filter(|(key, _)| object.field(key).is_some_and(|value| !is_off(value)));
    let notes = noted.map(|(key, why)| object.note(key, why)).collect();
    Ok(Subnet { network, router, notes })
}

fn names(fields: &'static [(&str, &str)]) -> impl Iterator<Item = &'static str> {
    fields.iter().map(|(key, _)| *key)
}

fn gateway_type(raw: Raw<'_>) -> Result<(), String> {
    match raw.text() {
        Some("distributed") => Ok(()),
        _ => Err(format!("{} cannot be honoured: {GATEWAY_NODE}; write distributed", raw.describe())),
    }
}

/// Kube-OVN's own, in contrast to other CNIs that use its address management.
fn provider(raw: Raw<'_>) -> Result<(), String> {
    match raw.text() {
        Some("ovn") => Ok(()),
        _ => Err(format!("{} is another CNI's network; remove the object", raw.describe())),
    }
}

/// 0 is Kube-OVN's way to leave it to the switch.
fn subnet_mtu(raw: Raw<'_>) -> Result<Mtu, String> {
    if raw.integer() == Some(0) { Ok(Mtu::Auto) } else { mtu::read(raw) }
}

/// The prefixes of `cidrBlock`, one for each family that `protocol` names.
fn subnets(object: &Object<'_>, sink: &mut Sink) -> Result<Vec<IpNet>, Reported> {
    let key = if object.field("cidrBlock").is_some() { "cidrBlock" } else { "cidr" };
    let list = |raw: Raw<'_>| each(raw, prefix);
    let Some(subnets) = object.read(key, list, sink)? else {
        return Err(object.report("spec.cidrBlock", "not set; give the subnet, as 10.16.0.0/16", sink));
    };
    let found = match subnets.as_slice() {
        [IpNet::V4(_)] => "IPv4",
        [IpNet::V6(_)] => "IPv6",
        [IpNet::V4(_), IpNet::V6(_)] | [IpNet::V6(_), IpNet::V4(_)] => "Dual",
        _ => {
            let message = "more than one prefix of a family; give one, or one of each";
            return Err(object.report(&format!("spec.{key}"), message, sink));
        }
    };
    let protocol = |raw: Raw<'_>| match raw.text() {
        Some(text) if text == found => Ok(()),
        _ => Err(format!("{} does not fit {key}, which is {found}; correct one of the two", raw.describe())),
    };
    object.read("protocol", protocol, sink)?;
    Ok(subnets)
}

/// The gateways with the length of their subnets: as given, else the first address of each, as Kube-OVN chooses.
fn gateways(object: &Object<'_>, subnets: &[IpNet], sink: &mut Sink) -> Result<Vec<IpNet>, Reported> {
    let given = object.read("gateway", |raw| each(raw, value::unicast), sink)?;
    let with_length = |address: IpAddr| {
        let subnet = subnets.iter().find(|subnet| subnet.contains(&address))?;
        IpNet::new(address, subnet.prefix_len()).ok()
    };
    let Some(given) = given else {
        return Ok(subnets.iter().filter_map(|subnet| with_length(subnet.hosts().next()?)).collect());
    };
    let all: Option<Vec<IpNet>> = given.into_iter().map(with_length).collect();
    all.ok_or_else(|| {
        object.report("spec.gateway", "in none of the subnet's prefixes; give an address of it", sink)
    })
}

/// The parts of a text between commas.
fn each<T>(raw: Raw<'_>, read: impl Fn(Raw<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
    let parts = raw.text().unwrap_or_default().split(',');
    parts.map(|part| read(Raw::Word(part.trim()))).collect()
}

/// The bridge and VLAN that the Subnet's `vlan` stands for: a Vlan of the same file, or a number.
fn place(
    object: &Object<'_>,
    vlans: &HashMap<String, Vlan>,
    running: &Config,
    sink: &mut Sink,
) -> Result<(NetworkName, Option<u16>), Reported> {
    let find = |raw: Raw<'_>| {
        let word = raw.text().unwrap_or_default();
        let number = word.parse::<u16>().ok().filter(|vid| (VID_MIN..=VID_MAX).contains(vid));
        let number = number.map(|id| Vlan { id: Some(id), bridge: None });
        vlans.get(word).cloned().or(number).ok_or_else(|| {
            format!(
                "{} is no Vlan of this file; add that object, or write a VLAN from {VID_MIN} to {VID_MAX}",
                quote(word)
            )
        })
    };
    let Some(Vlan { id, bridge }) = object.read("vlan", find, sink)? else {
        return Err(object.report("spec.vlan", "not set", sink));
    };
    if let Some(bridge) = bridge {
        return Ok((bridge, id));
    }
    let has = |network: &&Network| {
        network.bridge().is_some_and(|bridge| id.is_none_or(|id| bridge.vlans.contains(id)))
    };
    let mut fit = running.networks.iter().filter(has).map(|network| network.name.clone());
    match (fit.next(), fit.next()) {
        (Some(bridge), None) => Ok((bridge, id)),
        (None, _) => Err(object.report(
            "spec.vlan",
            "no bridge of this node has that VLAN; add it to the vlans of one",
            sink,
        )),
        (Some(_), Some(_)) => {
            let message =
                "several bridges of this node have that VLAN; add a Vlan whose provider is the name of one";
            Err(object.report("spec.vlan", message, sink))
        }
    }
}

/// The underlay at `place`; one that is there keeps its mode.
fn underlay((bridge, vlan): (NetworkName, Option<u16>), before: Option<&Network>) -> NetworkKind {
    let fresh = Underlay {
        bridge: bridge.clone(),
        vlan,
        mode: UnderlayMode::Bridged,
        parent_mac: None,
        host_port: None,
        announce: true,
        local_route: false,
    };
    let before = before.and_then(Network::underlay).cloned().unwrap_or(fresh);
    NetworkKind::Underlay(Underlay { bridge, vlan, ..before })
}

/// The overlay; one that is there keeps its tunnels.
fn overlay(
    object: &Object<'_>,
    running: &Config,
    before: Option<&Network>,
    sink: &mut Sink,
) -> Result<NetworkKind, Reported> {
    let transport = object.annotation("shunt/transport", value::parsed::<NetworkName>, sink)?;
    let vni = object.annotation("shunt/vni", value::integer::<u32>(1..=i64::from(VNI_MAX)), sink)?;
    let before = before.and_then(Network::overlay);
    let missing = |what: &str, sink: &mut Sink| {
        let message = format!(
            "not set, and this node has no overlay of that name; give {what}, or `vlan` if it is an underlay"
        );
        object.report(&format!("metadata.annotations.{what}"), message, sink)
    };
    let source = |transport: &NetworkName, sink: &mut Sink| {
        let own = running.network(transport.as_str()).and_then(|network| network.gateways.first());
        own.map(IpNet::addr).ok_or_else(|| {
            let message = format!(
                "network {transport} of this node has no address to send from; name one that has gateways"
            );
            object.report("metadata.annotations.shunt/transport", message, sink)
        })
    };
    let mut overlay = match (before, &transport) {
        (Some(before), None) => before.clone(),
        (Some(before), Some(transport)) => Overlay { local: source(transport, sink)?, ..before.clone() },
        (None, transport) => Overlay {
            encap: Encap::Geneve,
            vni: Some(vni.ok_or_else(|| missing("shunt/vni", sink))?),
            payload: Payload::Ethernet,
            local: source(transport.as_ref().ok_or_else(|| missing("shunt/transport", sink))?, sink)?,
            transport: transport.clone().unwrap_or_default(),
            port: Some(GENEVE_PORT),
            cidr: Vec::new(),
            learning: false,
            flood: true,
            udp_checksum: None,
            dscp: Dscp::default(),
            vtep: None,
            node_ips: Vec::new(),
            returns: Return::default(),
            ovn_ports: None,
            peers: Vec::new(),
            peers_file: None,
            file_peers: Vec::new(),
        },
    };
    overlay.vni = vni.or(overlay.vni);
    overlay.transport = transport.unwrap_or(overlay.transport);
    // The subnets of its gateways are all it has.
    overlay.cidr.clear();
    Ok(NetworkKind::Overlay(Box::new(overlay)))
}
