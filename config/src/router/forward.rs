//! `port_forwards` and `static_snat` of a router: single ports of an address outside that lead to a station inside (RFC 3022 section
//! 2.2), and the address that the connections of a prefix leave with.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::Serialize;

use super::prefix;
use crate::error::Reported;
use crate::keys::Key;
use crate::raw::{Raw, quote};
use crate::section::Section;
use crate::service::port::{PROTOCOLS, ServiceProtocol};
use crate::value;

/// A port outside that leads to a port of a station inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PortForward {
    /// TCP, UDP or SCTP.
    pub protocol: ServiceProtocol,
    /// What others see: an address of the router itself, or one that it answers for.
    pub external: SocketAddr,
    /// The station's own, of the same family.
    pub internal: SocketAddr,
}

/// The address that connections of a prefix leave with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct StaticSnat {
    /// Whose connections.
    pub source: IpNet,
    /// What they leave with through the network in whose subnet it is.
    pub address: IpAddr,
}

const fn key(name: &'static str, takes: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { name, kinds: &[], takes, default, meaning }
}

pub(super) const FORWARD_KEYS: &[Key] = &[
    key("protocol", "`\"tcp\"`, `\"udp\"` or `\"sctp\"`", "\"tcp\"", "the protocol"),
    key(
        "external",
        "address and port",
        "required",
        "what others send to: an address of the router, or another, for which it then answers",
    ),
    key("internal", "address and port", "required", "the station inside that gets it"),
];

pub(super) const SNAT_KEYS: &[Key] = &[
    key("source", "prefix", "required", "whose connections"),
    key("address", "address", "required", "what they leave with"),
];

/// One that would do.
pub(super) const FORWARD_EXAMPLE: &str =
    "{ protocol = \"tcp\", external = \"192.168.50.2:8080\", internal = \"10.16.0.11:80\" }";
/// And here.
pub(super) const SNAT_EXAMPLE: &str = "{ source = \"10.16.5.0/24\", address = \"192.168.50.9\" }";

pub(super) fn read(section: &mut Section<'_, '_>) -> Result<PortForward, Reported> {
    let protocol = section.or("protocol", ServiceProtocol::Tcp, value::one_of(PROTOCOLS));
    let external = section.required("external", "\"192.168.50.2:8080\"", end);
    let internal = section.required("internal", "\"10.16.0.11:80\"", end);
    section.refuse_others(None);
    let forward = PortForward { protocol: protocol?, external: external?, internal: internal? };
    if forward.external.is_ipv4() != forward.internal.is_ipv4() {
        let message = format!("{} and {} are of two families; use one", forward.external, forward.internal);
        return Err(section.report("internal", message));
    }
    Ok(forward)
}

pub(super) fn snat(section: &mut Section<'_, '_>) -> Result<StaticSnat, Reported> {
    let source = section.required("source", "\"10.16.5.0/24\"", prefix);
    let address = section.required("address", "\"192.168.50.9\"", value::unicast);
    section.refuse_others(None);
    let rule = StaticSnat { source: source?, address: address? };
    if rule.source.addr().is_ipv4() != rule.address.is_ipv4() {
        let message = format!("{} and {} are of two families; use one", rule.source, rule.address);
        return Err(section.report("address", message));
    }
    Ok(rule)
}

/// A unicast address with a port.
fn end(raw: Raw<'_>) -> Result<SocketAddr, String> {
    let text = value::text(raw)?;
    let shown = quote(text);
    let end: SocketAddr = text.parse().map_err(|_| {
        format!("{shown} is no address with a port; write it as \"10.16.0.11:80\" or \"[fd00::b]:80\"")
    })?;
    if end.port() == 0 {
        return Err(format!("{shown} has no port that anybody listens on; choose 1 to 65535"));
    }
    value::usable(end.ip())
        .ok_or_else(|| format!("{shown} is not a unicast address of a station; use another"))?;
    Ok(end)
}

/// What stands twice, or where floating addresses stand: the key in its list and what is wrong with it.
pub(crate) fn repeated(
    forwards: &[Option<PortForward>],
    snat: &[Option<StaticSnat>],
    floating: &HashSet<IpAddr>,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut external = HashMap::new();
    for (at, one) in forwards.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?))) {
        let key = format!("port_forwards[{at}].external");
        if let Some(first) = external.insert((one.protocol, one.external), at) {
            let message = format!(
                "{} {} leads elsewhere by port_forwards[{first}]; remove one of the two",
                one.protocol, one.external
            );
            found.push((key, message));
        } else if floating.contains(&one.external.ip()) {
            let message =
                format!("{} is a floating address, with all its ports; use another", one.external.ip());
            found.push((key, message));
        }
    }
    let mut sources = HashMap::new();
    for (at, one) in snat.iter().enumerate().filter_map(|(at, one)| Some((at, (*one)?))) {
        if let Some(first) = sources.insert(one.source, at) {
            let message = format!("{} is in static_snat[{first}] already; remove one of the two", one.source);
            found.push((format!("static_snat[{at}].source"), message));
        }
        if floating.contains(&one.address) {
            let message = format!("{} is a floating address; use another", one.address);
            found.push((format!("static_snat[{at}].address"), message));
        }
    }
    found
}
