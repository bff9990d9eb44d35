//! Random valid configurations. Two of them share names, devices and networks by chance, so that differences between
//! them are of every sort.

mod cluster;
mod service;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use shunt_config::{
    Bond, BondHash, BondMember, BondMode, Config, Daemon, Endpoint, FloatingIp, FlowCache, Hugepages,
    KeyFields, LacpRate, Listen, MacAddr, MemifRole, Memory, Metrics, Mtu, Netns, Network, NetworkName, Poll,
    Port, PortForward, PortKind, PortName, Router, RouterName, Routes, Secret, ServiceProtocol, StaticRoute,
    VhostMode, Workers,
};

const NETWORKS: [&str; 3] = ["default", "blue", "red"];
const PORTS: usize = 8;

/// Any valid configuration.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    (without_cluster(), cluster::cluster())
        .prop_map(|(config, cluster)| Config { cluster: cluster.into(), ..config })
}

fn without_cluster() -> impl Strategy<Value = Config> {
    (workers(), subsequence(&NETWORKS[..], 0..=3), memory(), flow_cache(), listen(), "[a-z]{1,8}")
        .prop_flat_map(|(workers, names, memory, flow_cache, listen, file)| {
            let networks: Vec<_> = names.iter().map(|name| network(name)).collect();
            let networks = networks.prop_flat_map(routed);
            // Without a network there can be no port.
            let most = if names.is_empty() { 0 } else { PORTS };
            let count = workers.count;
            let ports = (subsequence((0..PORTS).collect::<Vec<_>>(), 0..=most), 0..PORTS).prop_flat_map(
                move |(indexes, shift)| {
                    let names = names.clone();
                    indexes
                        .into_iter()
                        .map(|i| port(i, (i + shift) % PORTS, count, names.clone()))
                        .collect::<Vec<_>>()
                },
            );
            let services = (0_u8..4).prop_flat_map(|count| (0..count).map(service::one).collect::<Vec<_>>());
            (networks, ports, services).prop_map(move |((routers, networks), ports, services)| Config {
                daemon: Daemon {
                    socket: PathBuf::from(format!("/run/{file}")),
                    state_dir: (file.len() % 2 == 0).then(|| PathBuf::from(format!("/var/lib/{file}"))),
                },
                memory: memory.clone(),
                workers: workers.clone(),
                metrics: Metrics { listen: listen.clone() },
                flow_cache: flow_cache.clone(),
                connections: shunt_config::Connections::default(),
                node: shunt_config::Node::default(),
                services: services.into_iter().map(std::sync::Arc::new).collect(),
                routers,
                ports: endpoints_in_their_subnets(&networks, ports),
                networks,
                cluster: Default::default(),
            })
        })
}

fn listen() -> impl Strategy<Value = Option<Listen>> {
    let tcp = (any::<IpAddr>(), 1_u16..).prop_map(|(address, port)| Listen::Tcp((address, port).into()));
    let unix = "/[a-z]{1,8}".prop_map(|path| Listen::Unix(path.into()));
    proptest::option::of(prop_oneof![tcp, unix])
}

fn flow_cache() -> impl Strategy<Value = FlowCache> {
    let key = select(&[KeyFields::Needed, KeyFields::Full][..]);
    (0u32..=4_194_304, key, 0u32..=1_000_000_000, any::<bool>(), 1_000u64..=86_400_000).prop_map(
        |(entries, key, verify, back_off, idle)| FlowCache {
            entries,
            key,
            verify,
            back_off,
            idle_timeout: Duration::from_millis(idle),
        },
    )
}

/// One or two routers: `r`, to which networks belong by chance, and `s`, which has none. Every network has subnets of its
/// own number, 10.1NN.0.0/16 and fd00:1NN::/64, so none overlap and each route of `r` has its next router in one of them.
fn routed(networks: Vec<Network>) -> impl Strategy<Value = (Vec<Router>, Vec<Network>)> {
    let choices = proptest::collection::vec((0u8..4, proptest::option::of(mac())), networks.len());
    let routes = proptest::collection::vec((any::<u32>(), 0u8..=32, any::<bool>()), 0..6);
    (choices, routes, any::<bool>()).prop_map(move |(choices, routes, second)| {
        let router = |name| RouterName::new(name).unwrap();
        let (mut networks, mut hop) = (networks.clone(), None);
        for (network, (choice, gateway_mac)) in networks.iter_mut().zip(choices) {
            let number = 100 + NETWORKS.iter().position(|name| network.name == *name).unwrap();
            let subnets = [format!("10.{number}.0.1/16"), format!("fd00:{number}::1/64")];
            let (from, to) = [(0, 0), (0, 1), (1, 2), (0, 2)][usize::from(choice)];
            network.gateways = subnets[from..to].iter().map(|subnet| subnet.parse().unwrap()).collect();
            network.router = (from != to).then(|| router("r"));
            network.gateway_mac = gateway_mac.filter(|_| from != to);
            if from == 0 && to > 0 {
                hop = Some(Ipv4Addr::new(10, number as u8, 7, 7).into());
            }
        }
        // Outside 10.0.0.0/8, so that no route is to a subnet; the last of equal ones stays.
        let routes: BTreeMap<Ipv4Net, bool> = routes
            .into_iter()
            .map(|(to, len, blackhole)| {
                (Ipv4Net::new((to & !(0xff << 24) | 11 << 24).into(), len).unwrap().trunc(), blackhole)
            })
            .collect();
        let routes = routes.into_iter().map(|(to, blackhole)| {
            let via = hop.filter(|_| !blackhole);
            StaticRoute { to: to.into(), via, blackhole: via.is_none() }
        });
        let external_ips = vec!["203.0.113.0/28".parse().unwrap()];
        let [external, internal] = ["203.0.113.200", "10.99.0.1"].map(|text| text.parse().unwrap());
        let floating_ips = vec![FloatingIp { external, internal }];
        let r = Router {
            name: router("r"),
            routes: routes.collect(),
            external_ips,
            floating_ips,
            snat_pool: Vec::new(),
            snat_ports: Some(40_000..=40_015),
            port_forwards: vec![PortForward {
                protocol: ServiceProtocol::Udp,
                external: "203.0.113.201:53".parse().unwrap(),
                internal: "10.99.0.2:5353".parse().unwrap(),
            }],
            static_snat: Vec::new(),
            timeouts: shunt_config::OwnTimeouts {
                udp_timeout: Some(7),
                tcp_timeout_established: Some(86_400),
                ..Default::default()
            },
            gateway_mode: Default::default(),
            management_port: None,
        };
        let s = Router {
            name: router("s"),
            routes: Routes::default(),
            external_ips: Vec::new(),
            floating_ips: Vec::new(),
            snat_pool: Vec::new(),
            snat_ports: None,
            port_forwards: Vec::new(),
            static_snat: Vec::new(),
            timeouts: Default::default(),
            gateway_mode: Default::default(),
            management_port: None,
        };
        (std::iter::once(r).chain(second.then_some(s)).collect(), networks)
    })
}

fn memory() -> impl Strategy<Value = Memory> {
    let hugepages = select(&[Hugepages::Auto, Hugepages::Never, Hugepages::Require][..]);
    (hugepages, 1_024u32..=4_194_304, 1_024u16..=9_600).prop_map(|(hugepages, mbufs, mbuf_size)| Memory {
        hugepages,
        mbufs,
        mbuf_size,
    })
}

fn workers() -> impl Strategy<Value = Workers> {
    let cores = subsequence((0u16..1_024).collect::<Vec<_>>(), 0..=4).prop_shuffle();
    let poll = select(&[Poll::Adaptive, Poll::Busy][..]);
    (cores, 1u16..=64, poll, 1u16..=64, 0u64..=1_000_000_000, 1_000u64..=1_000_000_000).prop_map(
        |(cores, count, poll, burst, idle, sleep)| Workers {
            count: if cores.is_empty() { count } else { cores.len() as u16 },
            cores,
            poll,
            burst,
            idle_after: Duration::from_nanos(idle),
            max_sleep: Duration::from_nanos(sleep),
        },
    )
}

fn network(name: &'static str) -> impl Strategy<Value = Network> {
    let ageing = 0u64..=86_400_000;
    (1_280u16..=65_521, ageing.clone(), 1u32..=1_048_576, ageing).prop_map(
        move |(mtu, mac_ageing, mac_limit, neighbor_ageing)| Network {
            name: NetworkName::new(name).unwrap(),
            mtu: Mtu::Bytes(mtu),
            mac_ageing: Duration::from_millis(mac_ageing),
            mac_limit,
            neighbor_ageing: Duration::from_millis(neighbor_ageing),
            ..Network::default()
        },
    )
}

/// Endpoints are drawn with one address; here it gets one that its network can have.
fn endpoints_in_their_subnets(networks: &[Network], mut ports: Vec<Port>) -> Vec<Port> {
    for (number, port) in ports.iter_mut().enumerate() {
        let network = networks.iter().find(|network| network.name == port.network).unwrap();
        for (i, endpoint) in port.endpoints.iter_mut().enumerate() {
            let host = (number * 16 + i + 0x100) as u128;
            endpoint.ip = network
                .gateways
                .iter()
                .map(|gateway| match gateway.network() {
                    IpAddr::V4(net) => Ipv4Addr::from_bits(net.to_bits() + host as u32).into(),
                    IpAddr::V6(net) => Ipv6Addr::from_bits(net.to_bits() + host).into(),
                })
                .collect();
        }
    }
    ports
}

fn mac() -> impl Strategy<Value = MacAddr> {
    any::<[u8; 6]>().prop_map(|mut octets| {
        octets[0] = octets[0] & 0xfe | 0x02;
        MacAddr(octets)
    })
}

fn port(
    index: usize,
    device: usize,
    workers: u16,
    networks: Vec<&'static str>,
) -> impl Strategy<Value = Port> {
    let common = (
        select(networks),
        any::<bool>(),
        proptest::option::of(1_280u16..=65_521),
        proptest::option::of(mac()),
    );
    let queues = (1u16..=16).prop_flat_map(move |queues| {
        let all = usize::from(queues);
        let placement = prop_oneof![Just(Vec::new()), proptest::collection::vec(0..workers, all..=all)];
        (Just(queues), placement)
    });
    let limit = proptest::option::of(1u32..=1_048_576);
    // No two ports may claim a station: each has addresses of its own number.
    let stations = (0u8..3)
        .prop_map(move |count| (0..count).map(|i| MacAddr([0x06, 0, 0, 0, index as u8, i])).collect());
    let endpoint = move |i| Endpoint { mac: MacAddr([0x0a, 0, 0, 0, index as u8, i]), ip: Vec::new() };
    let endpoints = (0u8..3).prop_map(move |count| (0..count).map(endpoint).collect());
    (kind(index, device), common, queues, (limit, stations, endpoints)).prop_map(
        move |(
            kind,
            (network, admin_up, mtu, mac),
            (queues, placement),
            (mac_limit, stations, endpoints),
        )| Port {
            network: NetworkName::new(network).unwrap(),
            admin_up,
            mtu,
            mac,
            queues,
            // Of a bond, each member has its own.
            placement: placement.repeat(kind.members().len().max(1)),
            mac_limit,
            stations,
            endpoints,
            ..Port::new(PortName::new(&format!("p{index}")).unwrap(), kind)
        },
    )
}

/// A kind whose device, socket and addresses are those of number `device`: no other port has that number.
fn kind(index: usize, device: usize) -> impl Strategy<Value = PortKind> {
    let name = format!("dev{device}");
    let path = PathBuf::from(format!("/run/shunt/sock-{device}_é"));
    let netns = proptest::option::of(prop_oneof![
        "[a-z][a-z0-9 .-]{0,8}".prop_map(Netns::Name),
        Just(Netns::Path(PathBuf::from("/proc/1/ns/net")))
    ]);
    let device_name = proptest::option::of(Just(name.clone()));
    let addresses = subsequence(
        vec![format!("10.{device}.0.2/24"), format!("fd00:{device}::2/64"), format!("10.{device}.7.0/31")],
        1..=3,
    )
    .prop_map(|list| list.iter().map(|a| a.parse().unwrap()).collect::<Vec<_>>());
    let peer = proptest::option::of(Just(MacAddr([2, 0, 0, 0, 0, device as u8])));
    let tuntap = (device_name, netns, addresses, peer);
    let veth = name.clone();
    let secret =
        proptest::option::of("[a-zA-Z0-9#'/:.-]{1,23}").prop_map(|s| s.map(|s| Secret::new(&s).unwrap()));
    let memif_path = path.clone();
    let bond = bond(name.clone());
    prop_oneof![
        bond,
        Just(PortKind::Veth { device: veth }),
        (tuntap.clone(), any::<bool>()).prop_map(|((device, netns, addresses, peer_mac), tun)| match tun {
            true => PortKind::Tun { device, netns, addresses, peer_mac },
            false => PortKind::Tap { device, netns, addresses, routes: Vec::new(), peer_mac },
        }),
        (0u16..=1_023).prop_map(move |start_queue| PortKind::AfXdp { device: name.clone(), start_queue }),
        (select(&[VhostMode::Server, VhostMode::Client][..]), any::<bool>(), any::<bool>()).prop_map(
            move |(mode, tso, mergeable)| PortKind::VhostUser { path: path.clone(), mode, tso, mergeable }
        ),
        (any::<u32>(), select(&[MemifRole::Server, MemifRole::Client][..]), secret, 1u8..=14, 256u16..)
            .prop_map(move |(id, role, secret, ring_size_log2, buffer_size)| PortKind::Memif {
                path: memif_path.clone(),
                id,
                role,
                secret,
                ring_size_log2,
                buffer_size
            }),
        "[^\\p{C}]{0,20}"
            .prop_map(move |rest| PortKind::Dpdk { devargs: format!("net_null{index}{device},{rest}") }),
    ]
}

/// A bond of `device` and some others that nobody else has.
fn bond(device: String) -> impl Strategy<Value = PortKind> {
    let mode = prop_oneof![
        select(&[BondHash::Layer34, BondHash::Layer23, BondHash::Layer2][..]).prop_map(|hash| (
            BondMode::Static,
            LacpRate::default(),
            hash,
            None,
            32_768
        )),
        Just((BondMode::ActiveBackup, LacpRate::default(), BondHash::default(), None, 32_768)),
        (
            select(&[LacpRate::Fast, LacpRate::Slow][..]),
            select(&[BondHash::Layer34, BondHash::Layer23, BondHash::Layer2][..]),
            proptest::option::of(mac()),
            any::<u16>(),
        )
            .prop_map(|(rate, hash, system, priority)| (
                BondMode::Lacp,
                rate,
                hash,
                system,
                priority
            )),
    ];
    (1_u8..=8, 1_u8..=8, mode).prop_map(move |(count, min_links, mode)| {
        let (mode, rate, hash, system_mac, system_priority) = mode;
        let member = |number: u8| {
            let device = if number == 0 { device.clone() } else { format!("{device}m{number}") };
            let kind = match number % 3 {
                0 => PortKind::Veth { device: device.clone() },
                1 => PortKind::AfXdp { device: device.clone(), start_queue: u16::from(number) },
                _ => PortKind::Tap {
                    device: Some(device.clone()),
                    netns: None,
                    addresses: Vec::new(),
                    routes: Vec::new(),
                    peer_mac: None,
                },
            };
            BondMember { name: PortName::new(&format!("{device}x")).unwrap(), kind }
        };
        let members = (0..count).map(member).collect();
        let min_links = min_links.min(count);
        PortKind::Bond(Bond { members, mode, rate, hash, min_links, system_mac, system_priority })
    })
}
