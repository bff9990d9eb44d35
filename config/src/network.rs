//! `[[network]]`: a set of ports that is isolated but for a router.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::mac::MacAddr;
use crate::names::{NetworkName, RouterName};
use crate::section::Section;
use crate::value;

/// Smallest MTU: what every IPv4 host must forward whole (RFC 791 section 3.2).
pub const MTU_MIN: u16 = 68;
/// Largest MTU: the kernel's 65,535 less the Ethernet header that it counts on a TAP (`tun_net_initialize`).
pub const MTU_MAX: u16 = 65_521;
/// Largest `mac_limit`.
pub const MAC_LIMIT_MAX: u32 = 1_048_576;

/// How a network forwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NetworkKind {
    /// A learning Ethernet bridge (IEEE 802.1D without spanning tree).
    #[default]
    Bridge,
}

/// An isolated set of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Network {
    /// Its name, unique.
    pub name: NetworkName,
    /// How it forwards.
    pub kind: NetworkKind,
    /// MTU of its ports that set none: bytes of payload without the Ethernet header, 68 to 65,521.
    pub mtu: u16,
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
}

impl Network {
    /// The Ethernet address that the router has in the network: as configured, else derived from the network's name, so
    /// that it is the same after a restart and on every node.
    pub fn gateway_mac(&self) -> MacAddr {
        self.gateway_mac.unwrap_or_else(|| {
            // FNV-1a over the name; locally administered, not a group.
            let hash = self.name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
            let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
            MacAddr([0x02, a, b, c, d, e])
        })
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
            kind: NetworkKind::Bridge,
            mtu: 1_500,
            mac_ageing: Duration::from_secs(300),
            mac_limit: 8_192,
            router: None,
            gateways: Vec::new(),
            gateway_mac: None,
            neighbor_ageing: Duration::from_secs(20 * 60),
        }
    }
}

pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "name",
        kinds: &[],
        takes: "string, 1 to 63 of `a-z A-Z 0-9 . _ @ -`",
        default: "required",
        meaning: "the name that ports refer to; unique",
    },
    Key {
        name: "kind",
        kinds: &[],
        takes: "`\"bridge\"`",
        default: "\"bridge\"",
        meaning: "how the network forwards: `bridge` learns Ethernet addresses",
    },
    Key {
        name: "mtu",
        kinds: &[],
        takes: "integer, 68 to 65521 bytes",
        default: "1500",
        meaning: "MTU of the network's ports that set none; bytes after the Ethernet header",
    },
    Key {
        name: "mac_ageing",
        kinds: &[],
        takes: "duration, 0 (never) to 1day",
        default: "\"5m\"",
        meaning: "time without traffic after which a learned address is forgotten",
    },
    Key {
        name: "mac_limit",
        kinds: &[],
        takes: "integer, 1 to 1048576 addresses",
        default: "8192",
        meaning: "most addresses learned in the network; further ones are flooded and counted",
    },
    Key {
        name: "router",
        kinds: &[],
        takes: "name of a `[[router]]`",
        default: "none",
        meaning: "networks with the same router are routed between each other; wants `gateways`",
    },
    Key {
        name: "gateways",
        kinds: &[],
        takes: "array of addresses with prefix length",
        default: "[]",
        meaning: "the router's addresses in the network, with its subnets; the switch answers ARP and ND for them",
    },
    Key {
        name: "gateway_mac",
        kinds: &[],
        takes: "MAC address, not multicast",
        default: "derived from the network's name",
        meaning: "the router's Ethernet address in the network; the same on every node",
    },
    Key {
        name: "neighbor_ageing",
        kinds: &[],
        takes: "duration, 0 (never) to 1day",
        default: "\"20m\"",
        meaning: "time without ARP or ND from it after which a learned neighbour is forgotten",
    },
];

const KINDS: &[(&str, NetworkKind)] = &[("bridge", NetworkKind::Bridge)];

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
}

pub(crate) fn read(path: String, section: &mut Section<'_, '_>) -> Draft {
    let default = Network::default();
    let name = section.required("name", "\"blue\"", value::parsed::<NetworkName>).ok();
    let kind = section.or("kind", default.kind, value::one_of(KINDS));
    let mtu = section.or("mtu", default.mtu, value::integer(i64::from(MTU_MIN)..=i64::from(MTU_MAX)));
    let day = Duration::from_secs(24 * 60 * 60);
    let mac_ageing = section.or("mac_ageing", default.mac_ageing, value::duration(Duration::ZERO..=day));
    let mac_limit = section.or("mac_limit", default.mac_limit, mac_limit);
    let router = section.optional("router", value::parsed::<RouterName>);
    let gateways = section.list("gateways", value::address);
    let gateway_mac = section.optional("gateway_mac", value::station);
    let neighbor_ageing =
        section.or("neighbor_ageing", default.neighbor_ageing, value::duration(Duration::ZERO..=day));
    section.refuse_others(None);
    let routing = check_routing(section, &router, &gateways) && gateway_mac.is_ok();
    let network = Network {
        name: name.clone().unwrap_or_default(),
        kind: kind.unwrap_or(default.kind),
        mtu: mtu.unwrap_or(default.mtu),
        mac_ageing: mac_ageing.unwrap_or(default.mac_ageing),
        mac_limit: mac_limit.unwrap_or(default.mac_limit),
        router: router.unwrap_or(None),
        gateways: gateways.unwrap_or_default(),
        gateway_mac: gateway_mac.unwrap_or(None),
        neighbor_ageing: neighbor_ageing.unwrap_or(default.neighbor_ageing),
    };
    Draft { path, name, network, routing }
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
