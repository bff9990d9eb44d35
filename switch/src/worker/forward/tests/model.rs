//! A small world that changes, frames that may cross it, and the rules once more, written naively.
//!
//! | module | holds |
//! |---|---|
//! | [`change`] | what may happen to the world |
//! | [`frames`] | what is sent |
//! | [`world`] | the state of the world, and its topology |
//! | [`rules`] | where a frame goes and what it looks like then |
//! | [`arp`] | the same for ARP messages |
//! | [`nd`] | the same for neighbour solicitations |

mod arp;
mod change;
mod frames;
mod nd;
mod rules;
mod world;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::ids::PortId;
use crate::wire::ethernet::Mac;

pub(super) use change::{Change, change};
pub(super) use frames::{Frame, Sent, sent};
pub(super) use world::World;

/// Networks 0, 1, the overlays and the demux network, whose stations share a MAC address with its gateway, are routed between
/// each other; the transport, which carries the overlays, has a router of its own.
const NETWORKS: usize = 7;
const BRIDGE: usize = 2;
const TRANSPORT: usize = 3;
const OVERLAYS: [usize; 2] = [4, 6];
const DEMUX: usize = 5;
/// Nodes at the other end: number `n` has the address `.2 + n` in the transport.
const PEERS: u8 = 3;
/// Two for each network, at first.
pub(super) const PORTS: u8 = 14;
const STATIONS: u8 = 6;
/// Longer than any frame of this world.
const MTU: u16 = 1400;
/// The networks that the first router joins.
const JOINED: [usize; 5] = [0, 1, 4, 6, DEMUX];
/// The MAC address that stations of the demux network share.
const SHARED: Mac = Mac::from_bytes([2, 0, 0, 0, 0xaa, 1]);
/// The outside: reached by a route, if there is one.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

/// Where a station is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    Port(u8),
    /// Of an overlay only.
    Peer(u8),
}

fn port_id(port: u8) -> PortId {
    PortId::new(usize::from(port)).unwrap()
}

fn station_mac(station: u8) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 1, station])
}

fn gateway_mac(network: usize) -> Mac {
    if network == DEMUX {
        return SHARED;
    }
    Mac::from_bytes([2, 0, 0, 0, 0xff, network as u8])
}

fn subnet(network: usize) -> [u8; 3] {
    [10, 0, network as u8]
}

fn host(network: usize, last: u8) -> Ipv4Addr {
    let [a, b, c] = subnet(network);
    Ipv4Addr::new(a, b, c, last)
}

/// The IPv6 twin of an address: what has the one has the other, and is of the same sort.
fn twin(address: Ipv4Addr) -> Ipv6Addr {
    match address.octets() {
        [10, 0, network, last] => Ipv6Addr::new(0xfd00, 0, network.into(), 0, 0, 0, 0, last.into()),
        [0, 0, 0, 0] => Ipv6Addr::UNSPECIFIED,
        [127, ..] => Ipv6Addr::LOCALHOST,
        [224 | 255, _, _, last] => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, last.into()),
        [.., last] => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()),
    }
}

/// The VLAN of a network.
fn vid(network: usize) -> u16 {
    100 + network as u16
}

/// The number of an overlay in tunnel headers.
fn vni(network: usize) -> u32 {
    1000 + network as u32
}

fn is_overlay(network: usize) -> bool {
    OVERLAYS.contains(&network)
}

/// The router of a network.
fn router(network: usize) -> Option<u16> {
    match network {
        BRIDGE => None,
        TRANSPORT => Some(1),
        _ => Some(0),
    }
}

fn peer_address(peer: u8) -> Ipv4Addr {
    host(TRANSPORT, 2 + peer)
}
