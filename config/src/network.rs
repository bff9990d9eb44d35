//! `[[network]]`: an isolated set of ports.

use std::time::Duration;

use serde::Serialize;

use crate::error::Reported;
use crate::keys::Key;
use crate::names::NetworkName;
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
}

impl Default for Network {
    fn default() -> Self {
        Network {
            name: NetworkName::default(),
            kind: NetworkKind::Bridge,
            mtu: 1_500,
            mac_ageing: Duration::from_secs(300),
            mac_limit: 8_192,
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
];

const KINDS: &[(&str, NetworkKind)] = &[("bridge", NetworkKind::Bridge)];

/// The network without its name, and the name when it is a good one: a network with another mistake still exists for
/// the ports that refer to it.
pub(crate) fn read(section: &mut Section<'_, '_>) -> (Option<NetworkName>, Network) {
    let default = Network::default();
    let name = section.required("name", "\"blue\"", value::parsed::<NetworkName>);
    let kind = section.or("kind", default.kind, value::one_of(KINDS));
    let mtu = section.or("mtu", default.mtu, value::integer(i64::from(MTU_MIN)..=i64::from(MTU_MAX)));
    let day = Duration::from_secs(24 * 60 * 60);
    let mac_ageing = section.or("mac_ageing", default.mac_ageing, value::duration(Duration::ZERO..=day));
    let mac_limit = section.or("mac_limit", default.mac_limit, mac_limit);
    section.refuse_others(None);
    let name: Result<NetworkName, Reported> = name;
    let network = Network {
        name: name.clone().unwrap_or_default(),
        kind: kind.unwrap_or(default.kind),
        mtu: mtu.unwrap_or(default.mtu),
        mac_ageing: mac_ageing.unwrap_or(default.mac_ageing),
        mac_limit: mac_limit.unwrap_or(default.mac_limit),
    };
    (name.ok(), network)
}

/// A number of learned addresses.
pub(crate) fn mac_limit(raw: crate::raw::Raw<'_>) -> Result<u32, String> {
    value::integer(1..=i64::from(MAC_LIMIT_MAX))(raw)
}
