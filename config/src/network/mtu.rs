//! The MTU of a network: given, or computed from what it rides on.

use serde::{Serialize, Serializer};

use super::Network;
use super::kind::NetworkKind;
use crate::names::NetworkName;
use crate::raw::Raw;
use crate::value;

/// Smallest MTU: what every IPv4 host must forward whole (RFC 791 section 3.2).
pub const MTU_MIN: u16 = 68;
/// Largest MTU: the kernel's 65,535 less the Ethernet header that it counts on a TAP (`tun_net_initialize`).
pub const MTU_MAX: u16 = 65_521;
/// MTU of a bridge that sets none: that of Ethernet (IEEE 802.3).
pub const MTU_ETHERNET: u16 = 1_500;
/// The same of a VLAN whose frames leave by a device that takes none longer than untagged ones: less the tag (IEEE 802.3 clause 3.2.7).
pub const MTU_TAGGED: u16 = MTU_ETHERNET - 4;

/// Tunnels in tunnels at most; validation refuses a tunnel in itself, drafts may still hold one.
const DEPTH: usize = 8;

/// The MTU of a network as configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mtu {
    /// Computed, see [`Config::network_mtu`](crate::Config::network_mtu).
    #[default]
    Auto,
    /// Bytes after the Ethernet header, 68 to 65,521.
    Bytes(u16),
}

impl Serialize for Mtu {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Mtu::Auto => serializer.serialize_str("auto"),
            Mtu::Bytes(bytes) => serializer.serialize_u16(*bytes),
        }
    }
}

/// `"auto"` or bytes.
pub(crate) fn read(raw: Raw<'_>) -> Result<Mtu, String> {
    if raw.text() == Some("auto") {
        return Ok(Mtu::Auto);
    }
    let bytes = value::integer(i64::from(MTU_MIN)..=i64::from(MTU_MAX))(raw);
    bytes.map(Mtu::Bytes).map_err(|message| match raw.integer() {
        Some(_) => message,
        None => format!("{message}, or \"auto\""),
    })
}

/// The MTU of `network` in bytes after the Ethernet header, where `find` knows the others. `cramped` says of an underlay network that
/// there is no room for its tag on top of 1500 bytes, which matters where nobody gives an MTU.
pub(crate) fn effective<'a>(
    network: &'a Network,
    find: &impl Fn(&NetworkName) -> Option<&'a Network>,
    cramped: &impl Fn(&Network) -> bool,
) -> u16 {
    let mut below = network;
    let mut overhead: u16 = 0;
    let mut ethernet = MTU_ETHERNET;
    for _ in 0..DEPTH {
        if let Mtu::Bytes(bytes) = below.mtu {
            return bytes.saturating_sub(overhead).max(MTU_MIN);
        }
        let next = match &below.kind {
            NetworkKind::Bridge(_) => None,
            NetworkKind::Underlay(underlay) => {
                if cramped(below) {
                    ethernet = MTU_TAGGED;
                }
                find(&underlay.bridge)
            }
            NetworkKind::Overlay(overlay) => {
                overhead = overhead.saturating_add(overlay.overhead(overlay.over_ipv6()));
                find(&overlay.transport)
            }
        };
        match next {
            Some(next) => below = next,
            None => break,
        }
    }
    ethernet.saturating_sub(overhead).max(MTU_MIN)
}
