//! `[[network]]`: a broadcast domain, isolated but for a router. Keys of every network are here, those of one kind in
//! [`mod@read`].

pub(crate) mod keys;
pub(crate) mod kind;
pub(crate) mod mtu;
pub(crate) mod overlay;
pub(crate) mod peer;
pub(crate) mod read;
pub(crate) mod snat;

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::error::Reported;
use crate::mac::MacAddr;
use crate::names::{NetworkName, RouterName};
use crate::police::{self, Police};
use crate::section::Section;
use crate::value;

use kind::{NetworkKind, UnderlayMode};
use mtu::Mtu;
use overlay::{Overlay, Payload};
use snat::{Snat, SnatSource};

/// Largest `mac_limit`.
pub const MAC_LIMIT_MAX: u32 = 1_048_576;

/// A broadcast domain: a set of ports, and of peers behind tunnels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name, unique.
    pub name: NetworkName,
    /// How it forwards.
    #[serde(flatten)]
    pub kind: NetworkKind,
    /// Its MTU, and that of its ports that set none. See [`Config::network_mtu`](crate::Config::network_mtu).
    pub mtu: Mtu,
    /// Time without traffic after which a learned address is forgotten; zero is never.
    #[serde(serialize_with = "crate::write::duration")]
    pub mac_ageing: Duration,
    /// Most addresses learned in this network.
    pub mac_limit: u32,
    /// The router that joins this network with others; given together with `gateways`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<RouterName>,
    /// The router's addresses in the network, each with its subnet; subnets of a router do not overlap.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<IpNet>,
    /// The router's Ethernet address in the network, see [`Network::gateway_mac`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_mac: Option<MacAddr>,
    /// Time without ARP or ND after which a learned neighbour is forgotten; zero is never.
    #[serde(serialize_with = "crate::write::duration")]
    pub neighbor_ageing: Duration,
    /// Whether the gateway answers for every target, as configured; see [`Network::proxy_arp`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_arp: Option<bool>,
    /// The MSS of TCP SYNs routed into or out of the network is lowered to what its MTU takes.
    pub mss_clamp: bool,
    /// What may come into it in a second, by all its ports.
    #[serde(flatten)]
    pub police: Police,
    /// Stations of the network reach others, outside of the networks that are masqueraded, by the router's address there.
    pub masquerade: bool,
    /// Networks for which `masquerade` does not hold, or holds alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub snat: Vec<Snat>,
    /// Whether its stations are reached from outside only by connections that they have opened, as configured; see
    /// [`Network::is_closed`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<bool>,
}

impl Network {
    /// True when its stations are reached from networks that are not masqueraded only by connections that they have opened: as
    /// configured, else where an overlay is masqueraded.
    pub fn is_closed(&self) -> bool {
        self.closed.unwrap_or(self.masquerade && self.overlay().is_some())
    }

    /// The Ethernet address that the router has in the network: as configured, else derived from the network's name, so
    /// that it is the same after a restart and on every node. In an L3 overlay, where each node has an address of its
    /// own, it is derived from that, as the other nodes derive it (see [`Peer::mac`](crate::Peer::mac)); in a demux network it
    /// is that of all endpoints.
    pub fn gateway_mac(&self) -> MacAddr {
        self.gateway_mac.or_else(|| self.parent_mac()).unwrap_or_else(|| match self.overlay() {
            Some(overlay) if self.is_l3_overlay() => MacAddr::derived(&overlay.vtep().to_string()),
            _ => MacAddr::derived(self.name.as_str()),
        })
    }

    /// The Ethernet address that all endpoints of a `demux` network have; `None` for every other network.
    pub fn parent_mac(&self) -> Option<MacAddr> {
        match &self.kind {
            NetworkKind::Underlay(underlay) if underlay.mode == UnderlayMode::Demux => {
                Some(underlay.parent_mac.unwrap_or_else(|| MacAddr::derived(self.name.as_str())))
            }
            _ => None,
        }
    }

    /// The tunnels, when the network is an overlay.
    pub fn overlay(&self) -> Option<&Overlay> {
        match &self.kind {
            NetworkKind::Overlay(overlay) => Some(overlay),
            _ => None,
        }
    }

    /// The physical network, when the network is a part of it.
    pub fn underlay(&self) -> Option<&kind::Underlay> {
        match &self.kind {
            NetworkKind::Underlay(underlay) => Some(underlay),
            _ => None,
        }
    }

    /// The bridge, when the network is one.
    pub fn bridge(&self) -> Option<&kind::Bridge> {
        match &self.kind {
            NetworkKind::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// True for an overlay that routes to its peers by prefix: one that carries IP packets, has a `vtep`, or whose
    /// gateways have no subnets (`169.254.1.1/32`). The others switch to them by Ethernet address.
    pub fn is_l3_overlay(&self) -> bool {
        let alone = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
        self.overlay().is_some_and(|overlay| {
            let no_subnets = !self.gateways.is_empty() && self.gateways.iter().all(alone);
            overlay.payload == Payload::Ip || overlay.vtep.is_some() || no_subnets
        })
    }

    /// True when endpoints of the network are routed to one by one, wherever their addresses are: in L3 overlays and
    /// routed underlays. In the others they are in the gateways' subnets.
    pub fn has_host_routes(&self) -> bool {
        self.is_l3_overlay() || self.underlay().is_some_and(|underlay| underlay.mode == UnderlayMode::Routed)
    }

    /// True when the gateway answers ARP and ND for every target that is no station behind the asking port: as
    /// configured, else in L3 overlays and routed underlays.
    pub fn proxy_arp(&self) -> bool {
        self.proxy_arp.unwrap_or_else(|| self.has_host_routes() && !self.gateways.is_empty())
    }

    /// True when some of what leaves the network may leave with the router's address.
    pub fn translates(&self) -> bool {
        self.masquerade || self.snat.iter().any(|pair| pair.source == SnatSource::Node)
    }

    /// True when what goes from this network into `other`, of the same router, gets the router's address there.
    pub fn translates_into(&self, other: &Network) -> bool {
        let pair = self.snat.iter().find(|pair| pair.to == other.name);
        pair.map_or(self.masquerade && !other.masquerade, |pair| pair.source == SnatSource::Node)
    }

    /// The router's address and subnet in which a station may have `address`.
    pub fn subnet_of(&self, address: IpAddr) -> Option<IpNet> {
        self.gateways.iter().copied().find(|gateway| value::is_station_of(*gateway, address))
    }
}

impl Default for Network {
    fn default() -> Self {
        Network {
            name: NetworkName::default(),
            kind: NetworkKind::default(),
            mtu: Mtu::Auto,
            mac_ageing: Duration::from_secs(300),
            mac_limit: 8_192,
            router: None,
            gateways: Vec::new(),
            gateway_mac: None,
            neighbor_ageing: Duration::from_secs(20 * 60),
            proxy_arp: None,
            mss_clamp: false,
            police: Police::default(),
            masquerade: false,
            snat: Vec::new(),
            closed: None,
        }
    }
}

/// A network as far as it could be read: one with a mistake still exists for the ports that refer to it.
#[derive(Debug)]
pub(crate) struct Draft {
    /// The section's own key.
    pub(crate) path: String,
    /// The name, when it is a good one.
    pub(crate) name: Option<NetworkName>,
    /// The rest, with defaults for what holds a mistake.
    pub(crate) network: Network,
    /// False when router, gateways or their MAC address hold a mistake: what refers to them cannot be judged.
    pub(crate) routing: bool,
    /// False when a key of the kind holds a mistake: what depends on the kind cannot be judged.
    pub(crate) kind: bool,
}

impl Draft {
    /// The network that a document without networks has.
    pub(crate) fn default_network() -> Draft {
        let network = Network::default();
        let name = Some(network.name.clone());
        Draft { path: "network".to_owned(), name, network, routing: true, kind: true }
    }

    /// The key of one field in full.
    pub(crate) fn key(&self, name: &str) -> String {
        crate::raw::join(&self.path, name)
    }
}

pub(crate) fn read(path: String, section: &mut Section<'_, '_>) -> Draft {
    let default = Network::default();
    let name = section.required("name", "\"blue\"", value::parsed::<NetworkName>).ok();
    let kind = read::kind(section);
    let mtu = section.or("mtu", default.mtu, mtu::read);
    let day = Duration::from_secs(24 * 60 * 60);
    let mac_ageing = section.or("mac_ageing", default.mac_ageing, value::duration(Duration::ZERO..=day));
    let mac_limit = section.or("mac_limit", default.mac_limit, mac_limit);
    let router = section.optional("router", value::parsed::<RouterName>);
    let gateways = section.list("gateways", value::address);
    let gateway_mac = section.optional("gateway_mac", value::station);
    let neighbor_ageing =
        section.or("neighbor_ageing", default.neighbor_ageing, value::duration(Duration::ZERO..=day));
    let proxy_arp = section.optional("proxy_arp", value::boolean);
    let police = police::read(section).unwrap_or_default();
    let mss_clamp = section.or("mss_clamp", false, value::boolean);
    let masquerade = section.or("masquerade", false, value::boolean);
    let snat = section.tables("snat", snat::KEYS, snat::EXAMPLE, snat::read);
    let closed = section.optional("closed", value::boolean);
    let routing = check_routing(section, &router, &gateways) && gateway_mac.is_ok();
    if routing && !section.has("gateways") {
        let message = "nothing is routed here; add router and gateways, or remove it";
        let set = [
            ("proxy_arp", proxy_arp == Ok(Some(true))),
            ("mss_clamp", mss_clamp == Ok(true)),
            ("masquerade", masquerade == Ok(true)),
            ("snat", snat.as_ref().is_ok_and(|pairs| !pairs.is_empty())),
            ("local_route", is_local(&kind)),
        ];
        for (key, set) in set {
            if set {
                section.report(key, message);
            }
        }
    }
    if closed == Ok(Some(true)) && masquerade == Ok(false) {
        let message = "who is let in is known by the connections of masqueraded networks; add masquerade = true, or remove it";
        section.report("closed", message);
    }
    let network = Network {
        name: name.clone().unwrap_or_default(),
        kind: kind.clone().unwrap_or_default(),
        mtu: mtu.unwrap_or(default.mtu),
        mac_ageing: mac_ageing.unwrap_or(default.mac_ageing),
        mac_limit: mac_limit.unwrap_or(default.mac_limit),
        router: router.unwrap_or(None),
        gateways: gateways.unwrap_or_default(),
        gateway_mac: gateway_mac.unwrap_or(None),
        neighbor_ageing: neighbor_ageing.unwrap_or(default.neighbor_ageing),
        proxy_arp: proxy_arp.unwrap_or(None),
        mss_clamp: mss_clamp.unwrap_or(false),
        police,
        masquerade: masquerade.unwrap_or(false),
        snat: snat.unwrap_or_default().into_iter().flatten().collect(),
        closed: closed.unwrap_or(None),
    };
    one_address(section, &network);
    Draft { path, name, network, routing, kind: kind.is_ok() }
}

fn is_local(kind: &Result<NetworkKind, Reported>) -> bool {
    matches!(kind, Ok(NetworkKind::Underlay(underlay)) if underlay.local_route)
}

/// The physical network sees one Ethernet address of a demux network, so the router in it has that, too.
fn one_address(section: &mut Section<'_, '_>, network: &Network) {
    if let (Some(parent), Some(own)) = (network.parent_mac(), network.gateway_mac)
        && parent != own
    {
        let message = format!("a demux network has one address, {parent}; remove it, or set parent_mac");
        section.report("gateway_mac", message);
    }
}

/// True when router and gateways are both there and right, or both absent.
fn check_routing(
    section: &mut Section<'_, '_>,
    router: &Result<Option<RouterName>, Reported>,
    gateways: &Result<Vec<IpNet>, Reported>,
) -> bool {
    let (Ok(router), Ok(gateways)) = (router, gateways) else { return false };
    match (router, gateways.is_empty()) {
        (Some(_), true) => {
            let message = "the router has no address in the network; add it, as gateways = [\"10.0.1.1/24\"]";
            section.report("gateways", message);
            false
        }
        (None, false) => {
            section.report("router", "the gateways belong to no router; name one, as router = \"r\"");
            false
        }
        (None, true) if section.has("gateway_mac") => {
            section.report(
                "gateway_mac",
                "there is no gateway to have it; add router and gateways, or remove it",
            );
            false
        }
        _ => true,
    }
}

/// A number of learned addresses.
pub(crate) fn mac_limit(raw: crate::raw::Raw<'_>) -> Result<u32, String> {
    value::integer(1..=i64::from(MAC_LIMIT_MAX))(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_derived_gateway_mac_stays_and_is_a_stations() {
        let mac = |name: &str| {
            Network { name: NetworkName::new(name).unwrap(), ..Network::default() }.gateway_mac()
        };
        // FNV-1a of "left", its last five bytes: other nodes derive the same.
        assert_eq!(mac("left").to_string(), "02:ad:a2:04:1c:b0");
        assert!(mac("left") != mac("right") && mac("right").is_station() && mac("right").is_local());
        let given = MacAddr([2, 0, 0, 0, 0, 1]);
        assert_eq!(Network { gateway_mac: Some(given), ..Network::default() }.gateway_mac(), given);
    }
}
