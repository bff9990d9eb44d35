//! `peers` of an overlay: another end of the tunnel, and what is behind it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::error::Reported;
use crate::keys::{Key, key};
use crate::mac::MacAddr;
use crate::port::endpoint::{self, Endpoint};
use crate::raw::Raw;
use crate::router::prefix;
use crate::section::Section;
use crate::value;

/// Another end of the tunnels of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Where the outer packets go, and where its own come from.
    pub address: IpAddr,
    /// Its address in an L3 overlay as configured, see [`Peer::vtep`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
    /// Its Ethernet address in an L3 overlay as configured, see [`Peer::mac`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Addresses that it alone has in an L2 overlay, as its own [`Overlay::node_ips`](crate::Overlay::node_ips).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub node_ips: Vec<IpAddr>,
    /// What is routed to it in an L3 overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<IpNet>,
    /// Stations behind it in an L2 overlay.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Endpoint>,
}

impl Peer {
    /// A peer with nothing behind it.
    pub fn new(address: IpAddr) -> Peer {
        Peer {
            address,
            vtep: None,
            mac: None,
            node_ips: Vec::new(),
            prefixes: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Its address in an L3 overlay: as configured, else the outer one.
    pub fn vtep(&self) -> IpAddr {
        self.vtep.unwrap_or(self.address)
    }

    /// Its Ethernet address in an L3 overlay: as configured, else derived from [`Peer::vtep`], as it derives its own (see
    /// [`Network::gateway_mac`](crate::Network::gateway_mac)).
    pub fn mac(&self) -> MacAddr {
        self.mac.unwrap_or_else(|| MacAddr::derived(&self.vtep().to_string()))
    }

    /// The Ethernet address that goes with [`Peer::node_ips`]: derived from the first, as it derives its own.
    pub fn node_mac(&self) -> Option<MacAddr> {
        derived(&self.node_ips)
    }
}

/// The Ethernet address of a node with these addresses in an L2 overlay.
pub(super) fn derived(node_ips: &[IpAddr]) -> Option<MacAddr> {
    node_ips.first().map(|first| MacAddr::derived(&format!("node {first}")))
}

/// The keys of one peer.
pub(crate) const KEYS: &[Key] = &[
    key("address", &[], "address", "required", "where the outer packets go"),
    key("vtep", &[], "address", "`address`", "its address in an L3 overlay"),
    key("mac", &[], "MAC address", "derived from `vtep`", "its Ethernet address in an L3 overlay"),
    key(
        "node_ips",
        &[],
        "array of addresses",
        "[]",
        "its own `node_ips` in an L2 overlay, in the same order",
    ),
    key("prefixes", &[], "array of prefixes", "[]", "what is routed to it in an L3 overlay"),
    key("endpoints", &[], "array of endpoints", "[]", "stations behind it in an L2 overlay"),
];

/// What one looks like.
pub(crate) const EXAMPLE: &str = "{ address = \"10.186.152.101\", prefixes = [\"10.20.6.0/25\"] }";

/// Reads one from a table.
pub(crate) fn read(section: &mut Section<'_, '_>) -> Result<Peer, Reported> {
    let address = section.required("address", "\"10.186.152.101\"", value::unicast);
    let vtep = section.optional("vtep", vtep);
    let mac = section.optional("mac", value::station);
    let node_ips = section.list("node_ips", value::unicast);
    let prefixes = section.list("prefixes", prefix);
    let endpoints = section.tables("endpoints", endpoint::KEYS, endpoint::EXAMPLE, station);
    section.refuse_others(None);
    let endpoints = endpoints?.into_iter().collect::<Option<_>>().ok_or(Reported);
    Ok(Peer {
        address: address?,
        vtep: vtep?,
        mac: mac?,
        node_ips: node_ips?,
        prefixes: prefixes?,
        endpoints: endpoints?,
    })
}

/// An address of a tunnel end within an overlay: of no station, so the first address of a subnet will do.
pub(crate) fn vtep(raw: Raw<'_>) -> Result<IpAddr, String> {
    value::unicast(raw)
}

/// An endpoint that is known by its own Ethernet address.
fn station(section: &mut Section<'_, '_>) -> Result<Endpoint, Reported> {
    let endpoint = endpoint::read(section)?;
    if endpoint.mac == endpoint::LEFT_OUT {
        return Err(section.report("mac", endpoint::MISSING));
    }
    Ok(endpoint)
}
