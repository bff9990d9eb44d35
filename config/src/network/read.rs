//! Reading the keys of one network kind. One function per kind: keys in, variant out.

use std::net::{IpAddr, Ipv4Addr};

use super::kind::{Bridge, NetworkKind, Underlay, UnderlayMode};
use super::overlay::{Dscp, Encap, OVN_INGRESS_MAX, Overlay, PEERS_MAX, Payload, Return, VNI_MAX};
use super::peer;
use crate::error::Reported;
use crate::names::{NetworkName, PortName};
use crate::raw::Raw;
use crate::router::prefix;
use crate::section::Section;
use crate::value;
use crate::vlan::{VlanSet, range, vid};

/// One section as the functions of this file see it.
type Keys<'x, 'a, 's> = &'x mut Section<'a, 's>;
type Reader = fn(Keys<'_, '_, '_>) -> Result<NetworkKind, Reported>;

const READERS: &[(&str, Reader)] = &[("bridge", bridge), ("underlay", underlay), ("overlay", overlay)];

/// The source of outer packets that was left out, until the transport network is known: no gateway can have it.
pub(crate) const LEFT_OUT: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The kind with its keys, and the refusal of all keys it does not have.
pub(crate) fn kind(section: Keys<'_, '_, '_>) -> Result<NetworkKind, Reported> {
    let default: (&str, Reader) = ("bridge", bridge);
    match section.or("kind", default, value::entry_of(READERS)) {
        Ok((name, reader)) => {
            section.refuse_others(Some((name, "networks")));
            reader(section)
        }
        Err(Reported) => {
            section.refuse_others(None);
            Err(Reported)
        }
    }
}

fn bridge(section: Keys<'_, '_, '_>) -> Result<NetworkKind, Reported> {
    let vlans = section.list("vlans", range);
    let storm_limit = section.or("storm_limit", 0, value::integer(0..=i64::from(u32::MAX)));
    let forward_control = section.or("forward_control", false, value::boolean);
    let (vlans, storm_limit, forward_control) = (VlanSet::of(vlans?), storm_limit?, forward_control?);
    Ok(NetworkKind::Bridge(Bridge { vlans, storm_limit, forward_control }))
}

fn underlay(section: Keys<'_, '_, '_>) -> Result<NetworkKind, Reported> {
    const MODES: &[(&str, UnderlayMode)] = &[
        ("routed", UnderlayMode::Routed),
        ("bridged", UnderlayMode::Bridged),
        ("demux", UnderlayMode::Demux),
    ];
    let bridge = section.required("bridge", "\"br-bond0\"", value::parsed::<NetworkName>);
    let vlan = section.optional("vlan", vid);
    let mode = section.or("mode", UnderlayMode::default(), value::one_of(MODES));
    let parent_mac = section.optional("parent_mac", value::station);
    let host_port = section.optional("host_port", value::parsed::<PortName>);
    let announce = section.or("announce", true, value::boolean);
    let local_route = section.or("local_route", false, value::boolean);
    let mode = mode?;
    if mode != UnderlayMode::Demux && section.has("parent_mac") {
        let message =
            "only endpoints of a demux network share an address; set mode = \"demux\", or remove it";
        return Err(section.report("parent_mac", message));
    }
    if mode == UnderlayMode::Routed && !section.has("gateways") && !section.has("router") {
        let message =
            "a routed network needs router and gateways; add them, or set mode to \"bridged\" or \"demux\"";
        return Err(section.report("mode", message));
    }
    Ok(NetworkKind::Underlay(Underlay {
        bridge: bridge?,
        vlan: vlan?,
        mode,
        parent_mac: parent_mac?,
        host_port: host_port?,
        announce: announce?,
        local_route: local_route?,
    }))
}

fn overlay(section: Keys<'_, '_, '_>) -> Result<NetworkKind, Reported> {
    const ENCAPS: &[(&str, Encap)] =
        &[("vxlan", Encap::Vxlan), ("geneve", Encap::Geneve), ("gre", Encap::Gre), ("ipip", Encap::Ipip)];
    const RETURNS: &[(&str, Return)] = &[("symmetric", Return::Symmetric), ("gateway", Return::Gateway)];
    let encap = section.required("encap", "\"vxlan\"", value::one_of(ENCAPS));
    let transport = section.required("transport", "\"ctl\"", value::parsed::<NetworkName>);
    let local = section.or("local", LEFT_OUT, value::unicast);
    let cidr = match section.is_array("cidr") {
        true => section.list("cidr", prefix),
        false => section.optional("cidr", prefix).map(Vec::from_iter),
    };
    let learning = section.or("learning", false, value::boolean);
    let flood = section.or("flood", true, value::boolean);
    let dscp = section.or("dscp", Dscp::default(), dscp);
    let vtep = section.optional("vtep", peer::vtep);
    let node_ips = section.list("node_ips", value::unicast);
    let returns = section.or("return", Return::default(), value::one_of(RETURNS));
    let peers = section.tables("peers", peer::KEYS, peer::EXAMPLE, peer::read);
    let peers_file = section.optional("peers_file", value::file_path);
    let encap = encap?;
    let vni = vni(section, encap);
    let payload = payload(section, encap);
    let (port, udp_checksum) = udp(section, encap);
    let ovn_ports = ovn_ports(section, encap);
    let peers = peers?;
    if peers.len() > PEERS_MAX {
        return Err(section.report("peers", format!("more than {PEERS_MAX} peers; remove some")));
    }
    Ok(NetworkKind::Overlay(Box::new(Overlay {
        encap,
        vni: vni?,
        payload: payload?,
        transport: transport?,
        local: local?,
        port: port?,
        cidr: cidr?,
        learning: learning?,
        flood: flood?,
        udp_checksum: udp_checksum?,
        dscp: dscp?,
        ovn_ports: ovn_ports?,
        vtep: vtep?,
        node_ips: node_ips?,
        returns: returns?,
        peers: peers.into_iter().collect::<Option<_>>().ok_or(Reported)?,
        peers_file: peers_file?,
        file_peers: Vec::new(),
    })))
}

/// The number of the network, which each encapsulation has in its own range or not at all.
fn vni(section: Keys<'_, '_, '_>, encap: Encap) -> Result<Option<u32>, Reported> {
    match encap {
        Encap::Vxlan | Encap::Geneve => {
            section.required("vni", "2", value::integer(1..=i64::from(VNI_MAX))).map(Some)
        }
        Encap::Gre => section.optional("vni", value::integer(0..=i64::from(u32::MAX))),
        Encap::Ipip if section.has("vni") => {
            Err(section
                .report("vni", "IP-in-IP has no number of the network; remove it, or use another encap"))
        }
        Encap::Ipip => Ok(None),
    }
}

fn payload(section: Keys<'_, '_, '_>, encap: Encap) -> Result<Payload, Reported> {
    const PAYLOADS: &[(&str, Payload)] = &[("ethernet", Payload::Ethernet), ("ip", Payload::Ip)];
    let natural = if encap == Encap::Ipip { Payload::Ip } else { Payload::Ethernet };
    let payload = section.or("payload", natural, value::one_of(PAYLOADS))?;
    if encap != Encap::Gre && payload != natural {
        let carries = if encap == Encap::Ipip { "IP packets" } else { "Ethernet frames" };
        let message = format!("{} carries {carries} only; remove it, or use encap = \"gre\"", encap.name());
        return Err(section.report("payload", message));
    }
    Ok(payload)
}

/// UDP port and UDP checksum, which only VXLAN and Geneve have.
#[allow(clippy::type_complexity, reason = "two results that are reported on their own")]
fn udp(
    section: Keys<'_, '_, '_>,
    encap: Encap,
) -> (Result<Option<u16>, Reported>, Result<Option<bool>, Reported>) {
    let port = section.optional("port", value::integer(1..=65_535));
    let checksum = section.optional("udp_checksum", value::boolean);
    let default = encap.default_port();
    if default.is_some() {
        return (port.map(|port| port.or(default)), checksum);
    }
    let message = format!("{} is not carried in UDP; remove it", encap.name());
    let port = match port {
        Ok(Some(_)) => Err(section.report("port", message.as_str())),
        other => other,
    };
    let checksum = match checksum {
        Ok(Some(true)) => Err(section.report("udp_checksum", message)),
        other => other,
    };
    (port, checksum)
}

/// Nothing, or a logical ingress and a logical egress port, which only Geneve has room for.
fn ovn_ports(section: Keys<'_, '_, '_>, encap: Encap) -> Result<Option<(u16, u16)>, Reported> {
    const WANTED: &str =
        "write the logical ingress port, 0 to 32767, and the egress port, 0 to 65535, as [3, 5]";
    let ports = section.list("ovn_ports", value::integer::<u16>(0..=65_535))?;
    match ports[..] {
        [] => Ok(None),
        _ if encap != Encap::Geneve => {
            let message = format!("{} has no options; remove it, or use encap = \"geneve\"", encap.name());
            Err(section.report("ovn_ports", message))
        }
        [ingress, egress] if ingress <= OVN_INGRESS_MAX => Ok(Some((ingress, egress))),
        [ingress, _] => Err(section.report("ovn_ports[0]", format!("{ingress} is out of range; {WANTED}"))),
        _ => Err(section.report("ovn_ports", format!("expected 2 numbers, found {}; {WANTED}", ports.len()))),
    }
}

/// `"inherit"` or 0 to 63.
fn dscp(raw: Raw<'_>) -> Result<Dscp, String> {
    if raw.text() == Some("inherit") {
        return Ok(Dscp::Inherit);
    }
    value::integer(0..=63)(raw).map(Dscp::Value).map_err(|message| match raw.integer() {
        Some(_) => message,
        None => format!("{message}, or \"inherit\""),
    })
}
