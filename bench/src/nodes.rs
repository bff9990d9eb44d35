//! Tables as large as a node's ever get: 100,000 routes, and a topology of 1,000 pods and 1,000 other nodes.
//!
//! All is made of numbers without visible order that are always the same.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use shunt_config::{IpNet, NetworkName, PortName, RouterName};
use shunt_switch::encap::{Dscp, Encap};
use shunt_switch::ids::{NetworkId, PortId};
use shunt_switch::table::fdb::{self, Fdb, Place};
use shunt_switch::table::fib::{Fib, Route, Row};
use shunt_switch::table::neighbor::{self, Neighbor, NeighborTable};
use shunt_switch::topology::tunnels::{PlannedOverlay, PlannedPeer};
use shunt_switch::topology::{Answers, Gateway, Plan, PlannedNetwork, PlannedRouter, Port, RouterId};
use shunt_switch::wire::ethernet::Mac;

/// Numbers without visible order (xorshift64*).
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// A sequence; another for each `seed`, which is not 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next one.
    pub fn next_bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// The next one below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.next_bits()) * u128::from(end)) >> 64) as u64
    }

    /// One of `list`, whose entries come as often as their weights say.
    fn weighted(&mut self, list: &[(u8, u64)]) -> u8 {
        let mut left = self.below(list.iter().map(|entry| entry.1).sum());
        for (value, weight) in list {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *value,
            }
        }
        unreachable!("the number is below the sum of the weights")
    }
}

/// Lengths as the Internet's tables have them, and hosts as clusters have.
const LENGTHS_V4: &[(u8, u64)] = &[
    (8, 2),
    (12, 3),
    (16, 15),
    (17, 10),
    (18, 15),
    (19, 25),
    (20, 50),
    (21, 50),
    (22, 120),
    (23, 90),
    (24, 520),
    (26, 15),
    (28, 15),
    (32, 70),
];
const LENGTHS_V6: &[(u8, u64)] =
    &[(29, 50), (32, 100), (36, 50), (40, 80), (44, 100), (48, 420), (56, 100), (64, 80), (128, 20)];
/// First 16 bits of what the registries give out.
const REGISTRIES: [u128; 7] = [0x2001, 0x2400, 0x2600, 0x2610, 0x2800, 0x2a00, 0x2c00];

fn route(numbers: &mut Numbers) -> Route {
    match numbers.below(20) {
        0 => Route::Connected(NetworkId::new(numbers.below(4) as usize)),
        1 => Route::Blackhole,
        _ => {
            Route::Via(NetworkId::new(1), Ipv4Addr::from_bits(10 << 24 | numbers.below(1_000) as u32).into())
        }
    }
}

/// `count` IPv4 routes by 1,000 next hops: three of four in 6,000 networks of 16 bits, the others anywhere.
pub fn routes_v4(count: usize) -> Vec<Row> {
    let mut numbers = Numbers::new(4);
    let anywhere =
        |numbers: &mut Numbers| (1 + numbers.below(223) as u32) << 24 | numbers.below(1 << 24) as u32;
    let networks: Vec<u32> = (0..6_000).map(|_| anywhere(&mut numbers) & 0xffff_0000).collect();
    let row = |_| {
        let address = match numbers.below(4) {
            0 => anywhere(&mut numbers),
            _ => networks[numbers.below(6_000) as usize] | numbers.below(1 << 16) as u32,
        };
        let net = IpNet::new_assert(Ipv4Addr::from_bits(address).into(), numbers.weighted(LENGTHS_V4));
        Row { prefix: net.trunc(), route: route(&mut numbers) }
    };
    (0..count).map(row).collect()
}

/// `count` IPv6 routes by 1,000 next hops, in 20,000 networks of 32 bits.
pub fn routes_v6(count: usize) -> Vec<Row> {
    let mut numbers = Numbers::new(6);
    let network = |numbers: &mut Numbers| {
        let registry = REGISTRIES[numbers.below(REGISTRIES.len() as u64) as usize];
        (registry << 16 | u128::from(numbers.below(1 << 20))) << 96
    };
    let networks: Vec<u128> = (0..20_000).map(|_| network(&mut numbers)).collect();
    let row = |_| {
        let low = u128::from(numbers.next_bits()) << 32 | u128::from(numbers.next_bits() as u32);
        let address = networks[numbers.below(20_000) as usize] | low;
        let net = IpNet::new_assert(Ipv6Addr::from_bits(address).into(), numbers.weighted(LENGTHS_V6));
        Row { prefix: net.trunc(), route: route(&mut numbers) }
    };
    (0..count).map(row).collect()
}

/// `count` addresses, each inside one of `rows`.
pub fn destinations(rows: &[Row], count: usize) -> Vec<IpAddr> {
    let mut numbers = Numbers::new(7);
    let inside = |_| {
        let low = u128::from(numbers.next_bits()) << 64 | u128::from(numbers.next_bits());
        match rows[numbers.below(rows.len() as u64) as usize].prefix {
            IpNet::V4(net) => {
                Ipv4Addr::from_bits(net.addr().to_bits() | low as u32 & net.hostmask().to_bits()).into()
            }
            IpNet::V6(net) => {
                Ipv6Addr::from_bits(net.addr().to_bits() | low & net.hostmask().to_bits()).into()
            }
        }
    };
    (0..count).map(inside).collect()
}

/// Pods on the node, each behind a port of its own.
pub const PODS: usize = 1_000;
/// Other nodes.
pub const NODES: usize = 1_000;

/// A node of a large cluster: an uplink, and an overlay with [`PODS`] pods here and [`NODES`] peers with a prefix each. All
/// tables are made of rows, as when a daemon starts.
pub fn cluster() -> Plan {
    let (uplink, overlay) = (NetworkId::new(0), NetworkId::new(1));
    let vtep = Ipv4Addr::new(172, 16, 0, 1);
    let mac = |kind: u8, number: usize| {
        Mac::from_bytes([2, 0, kind, (number >> 16) as u8, (number >> 8) as u8, number as u8])
    };
    let below = |first: [u8; 4], number: usize| -> IpAddr {
        Ipv4Addr::from_bits(Ipv4Addr::from(first).to_bits() + number as u32).into()
    };
    let station = |mac, place| fdb::Row { mac, place, fixed: true, last_seen: 0 };
    let neighbor = |address, mac, own| neighbor::Row {
        address,
        neighbor: Neighbor { mac, own, fixed: true },
        last_seen: 0,
    };
    let gateway = |mac, address: IpAddr, len| Gateway {
        mac,
        addresses: [(address, len)].into(),
        router: RouterId::FIRST,
    };
    let port = |index: usize, name: String, network| Port {
        ..Port::plain(
            PortId::new(index).expect("there is room for 1,024 ports"),
            PortName::new(&name).expect("a name"),
            network,
        )
    };
    let wire = Place::Port(PortId::new(0).expect("a small number"));
    let outside: Vec<_> = (0..NODES).map(|node| station(mac(1, node), wire)).collect();
    let nodes = (0..NODES).map(|node| neighbor(below([172, 16, 1, 0], node), mac(1, node), false));
    let nodes: Vec<_> = nodes.chain([neighbor(vtep.into(), mac(0, 1), true)]).collect();
    let pods =
        (0..PODS).map(|pod| station(mac(2, pod), Place::Port(PortId::new(pod + 1).expect("a small number"))));
    let far = (0..NODES).map(|node| station(mac(3, node), Place::Peer(node as u16 + 1)));
    let inside: Vec<_> = pods.chain(far).collect();
    let pods = (0..PODS).map(|pod| neighbor(below([10, 20, 0, 0], pod), mac(2, pod), false));
    let far = (0..NODES).map(|node| neighbor(below([10, 64, 0, 0], node << 8), mac(3, node), false));
    let known: Vec<_> = pods.chain(far).chain([neighbor([169, 254, 1, 1].into(), mac(0, 2), true)]).collect();
    let host = |address: IpAddr| Row { prefix: address.into(), route: Route::Connected(overlay) };
    let pods = (0..PODS).map(|pod| host(below([10, 20, 0, 0], pod)));
    let far = (0..NODES).map(|node| {
        let via = below([10, 64, 0, 0], node << 8);
        Row { prefix: IpNet::new_assert(via, 24), route: Route::Via(overlay, via) }
    });
    let wire_route =
        Row { prefix: IpNet::new_assert(below([172, 16, 0, 0], 0), 16), route: Route::Connected(uplink) };
    let routes = pods.chain(far).chain([wire_route]);
    let network = |name: &str, fdb: Vec<fdb::Row>, neighbors: Vec<neighbor::Row>, gateway| PlannedNetwork {
        fdb: Arc::new(Fdb::build(fdb.into_iter())),
        neighbors: Arc::new(NeighborTable::build(neighbors.into_iter())),
        gateway: Some(gateway),
        answers: Answers::Given,
        ..PlannedNetwork::plain(NetworkName::new(name).expect("a name"))
    };
    let peers = (0..NODES).map(|node| Some(PlannedPeer { address: below([172, 16, 1, 0], node) }));
    let tunnels = PlannedOverlay {
        network: overlay,
        transport: uplink,
        locals: [vtep.into()].into(),
        encap: Encap::Vxlan { vni: 2 },
        port: 4789,
        dscp: Dscp::Fixed(0),
        udp_checksum: None,
        // Nobody has the number 0.
        peers: std::iter::once(None).chain(peers).collect(),
        flood: false,
        learning: false,
        admits_underlays: false,
    };
    let ports = (0..PODS).map(|pod| port(pod + 1, format!("pod{pod}"), overlay));
    Plan {
        networks: vec![
            network("ctl", outside, nodes, gateway(mac(0, 1), vtep.into(), 16)),
            network("vxlan.2", inside, known, gateway(mac(0, 2), [169, 254, 1, 1].into(), 32)),
        ],
        routers: vec![PlannedRouter {
            name: RouterName::new("r").expect("a name"),
            fib: Arc::new(Fib::build(routes)),
        }],
        ports: [port(0, "uplink".into(), uplink)].into_iter().chain(ports).collect(),
        overlays: vec![Arc::new(tunnels)],
        ..Plan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shunt_switch::topology::Topology;

    #[test]
    fn every_peer_of_the_cluster_is_reached() {
        let plan = cluster();
        let topology = Topology::build(1, &plan);
        let overlay = topology.overlay(NetworkId::new(1)).expect("network 1 is an overlay");
        assert!((1..=NODES as u16).all(|peer| overlay.tunnel(peer).is_some_and(|tunnel| tunnel.way.is_ok())));
        assert_eq!(topology.ports().count(), PODS + 1);
    }

    #[test]
    fn routes_are_many_and_destinations_inside_them() {
        for rows in [routes_v4(20_000), routes_v6(20_000)] {
            let fib = Fib::build(rows.iter().copied());
            assert!(fib.len() > 19_000, "{}", fib.len());
            assert!(destinations(&rows, 1_000).into_iter().all(|address| fib.get(address).is_some()));
        }
    }
}
