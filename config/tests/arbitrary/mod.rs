//! Random valid configurations. Two of them share names, devices and networks by chance, so that differences between
//! them are of every sort.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use shunt_config::{
    Config, Daemon, Hugepages, MacAddr, MemifRole, Memory, Netns, Network, NetworkName, Poll, Port, PortKind,
    PortName, Secret, VhostMode, Workers,
};

const NETWORKS: [&str; 3] = ["default", "blue", "red"];
const PORTS: usize = 8;

/// Any valid configuration.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    (workers(), subsequence(&NETWORKS[..], 0..=3), memory(), "[a-z]{1,8}").prop_flat_map(
        |(workers, names, memory, file)| {
            let networks: Vec<_> = names.iter().map(|name| network(name)).collect();
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
            (networks, ports).prop_map(move |(networks, ports)| Config {
                daemon: Daemon { socket: PathBuf::from(format!("/run/{file}")) },
                memory: memory.clone(),
                workers: workers.clone(),
                networks,
                ports,
            })
        },
    )
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
    (1_280u16..=65_521, 0u64..=86_400_000, 1u32..=1_048_576).prop_map(move |(mtu, ageing, mac_limit)| {
        Network {
            name: NetworkName::new(name).unwrap(),
            mtu,
            mac_ageing: Duration::from_millis(ageing),
            mac_limit,
            ..Network::default()
        }
    })
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
    (kind(index, device), common, queues, (limit, stations)).prop_map(
        move |(kind, (network, admin_up, mtu, mac), (queues, placement), (mac_limit, stations))| Port {
            network: NetworkName::new(network).unwrap(),
            admin_up,
            mtu,
            mac,
            queues,
            placement,
            mac_limit,
            stations,
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
    prop_oneof![
        Just(PortKind::Veth { device: veth }),
        (tuntap.clone(), any::<bool>()).prop_map(|((device, netns, addresses, peer_mac), tun)| match tun {
            true => PortKind::Tun { device, netns, addresses, peer_mac },
            false => PortKind::Tap { device, netns, addresses, peer_mac },
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
