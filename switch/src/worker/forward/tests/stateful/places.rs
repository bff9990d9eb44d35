//! Who is where: two networks of pods and one outside, three stations in each, every one behind a port of its own and with
//! an address of each family. Pods are those of `policy::tests::arbitrary`.

use std::net::IpAddr;

use shunt_config::ServiceProtocol;

use crate::ids::{NetworkId, PortId};
use crate::topology::RouterId;
use crate::wire::ethernet::Mac;

pub(super) const OUTSIDE: usize = 2;
pub(super) const NETWORKS: usize = 3;
/// Stations of a network.
const EACH: usize = 3;
pub(super) const STATIONS: usize = NETWORKS * EACH;
/// The station outside that is the next router, for those that there is a default route.
pub(super) const UPLINK: usize = OUTSIDE * EACH;
/// The station outside that has the addresses which the router may answer for while these are nobody's.
pub(super) const OTHER: usize = STATIONS - 1;
/// Connections are in this zone.
pub(super) const ZONE: u16 = 7;
pub(super) const ROUTER: RouterId = RouterId::FIRST;

pub(super) fn network_of(station: usize) -> usize {
    station / EACH
}

pub(super) fn port(station: usize) -> PortId {
    PortId::new(station).unwrap()
}

pub(super) fn network_id(network: usize) -> NetworkId {
    NetworkId::new(network)
}

fn in_network(network: usize, last: u8, v6: bool) -> IpAddr {
    let number = network as u16 + 1;
    match (network, v6) {
        (OUTSIDE, false) => [192, 0, 2, last].into(),
        (_, false) => [10, 0, number as u8, last].into(),
        (OUTSIDE, true) => [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into(),
        (_, true) => [0xfd00, 0, 0, 0, 0, 0, number, last.into()].into(),
    }
}

pub(super) fn address(station: usize, v6: bool) -> IpAddr {
    in_network(network_of(station), (station % EACH) as u8 + 1, v6)
}

/// The router's.
pub(super) fn gateway(network: usize, v6: bool) -> IpAddr {
    in_network(network, 254, v6)
}

pub(super) fn gateway_mac(network: usize) -> Mac {
    Mac::from_bytes([2, 0, 0, 0, 0xfe, network as u8])
}

pub(super) fn prefix(network: usize, v6: bool) -> String {
    let first = in_network(network, 0, v6);
    let length = match (network, v6) {
        (_, false) => 24,
        (OUTSIDE, true) => 64,
        (_, true) => 112,
    };
    format!("{first}/{length}")
}

/// The network in whose subnet `address` is.
pub(super) fn subnet_of(address: IpAddr) -> Option<usize> {
    (0..NETWORKS).find(|network| {
        let prefix: shunt_config::IpNet = prefix(*network, address.is_ipv6()).parse().unwrap();
        prefix.contains(&address)
    })
}

/// Stands for a station, or belongs to [`OTHER`].
pub(super) fn floating(v6: bool) -> IpAddr {
    in_network(OUTSIDE, 200, v6)
}

/// What ports connections leave with where the router says so: some are those of senders, and most are not.
pub(super) const PORTS: std::ops::RangeInclusive<u16> = 5001..=5064;

/// What masqueraded connections leave with where the pool has that number.
pub(super) fn pool(number: usize, v6: bool) -> IpAddr {
    in_network(OUTSIDE, 150 + number as u8, v6)
}

/// What connections of the prefix of that number leave with.
pub(super) fn sourced(number: usize, v6: bool) -> IpAddr {
    in_network(OUTSIDE, 160 + number as u8, v6)
}

/// The address, besides the router's own, of which single ports may lead inside.
pub(super) fn lent(v6: bool) -> IpAddr {
    in_network(OUTSIDE, 210, v6)
}

/// All that the router may answer for, or somebody else.
pub(super) fn lendable(v6: bool) -> Vec<IpAddr> {
    let pairs = (0..2).flat_map(|number| [pool(number, v6), sourced(number, v6)]);
    pairs.chain([floating(v6), lent(v6)]).collect()
}

/// The single ports that may lead inside: protocol, address and port, and the port there.
pub(super) fn forwards(v6: bool) -> [(ServiceProtocol, IpAddr, u16, u16); 4] {
    [
        (ServiceProtocol::Tcp, gateway(OUTSIDE, v6), 8080, 80),
        (ServiceProtocol::Tcp, lent(v6), 8080, 81),
        (ServiceProtocol::Udp, lent(v6), 5353, 53),
        (ServiceProtocol::Sctp, lent(v6), 38_412, 2905),
    ]
}

/// Whose connections leave with [`sourced`]: those of the first network, and of one station of it.
pub(super) fn sources(number: usize, v6: bool) -> shunt_config::IpNet {
    match number {
        0 => prefix(0, v6).parse().unwrap(),
        _ => address(1, v6).into(),
    }
}

/// Somebody beyond [`UPLINK`].
pub(super) fn far(v6: bool) -> IpAddr {
    if v6 { [0x2001, 0xdb8, 1, 0, 0, 0, 0, 9].into() } else { [198, 51, 100, 9].into() }
}
