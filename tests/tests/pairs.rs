//! TCP, UDP and large sends through every pair of port kinds, with a kernel's stack at both ends: the contract that whatever state of
//! checksum and segmentation one kind hands over, every other kind finishes.
//!
//! One test for each kind as the first of the pair; a failing one names every pair that failed.

mod node;

use std::time::{Duration, Instant};

use node::traffic::{self, Terms};
use node::{Kind, MEMORY, Node, Plan, Pod};
use shunt_tests::guest::{Backend, Nic, Options};
use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Guest, Interface, Iperf, require};

/// Least TCP rate from a virtual machine that is emulated, Gbit/s.
const SLOW: f64 = 0.01;

/// `first` with each of `others`, one after the other on one node.
#[track_caller]
fn pairs(first: Kind, others: &[Kind], terms: &Terms) {
    let mut kinds = vec![first];
    kinds.extend(others);
    let mut node = Node::start(&Plan { pods: &kinds, ..Plan::default() });
    let mut failed = Vec::new();
    for other in &node.pods[1..] {
        if let Err(error) = traffic::thrice(|| traffic::brief(&node.pods[0], other, terms)) {
            failed.push(format!("{} with {}: {error}", first.name(), other.kind.name()));
        }
    }
    let mut pods = std::mem::take(&mut node.pods);
    for pod in pods.iter_mut().filter(|pod| pod.testpmd.is_some()) {
        failed.extend(unaccounted(&node, pod).err());
    }
    node.pods = pods;
    if failed.is_empty() {
        return;
    }
    // Where frames were lost: in the switch, below it, or in the testpmd that stands for the other side.
    failed.push(format!("dropped {:?}; {:#?}", node.drops(), node.ports()));
    for pod in &mut node.pods {
        let stats = pod.testpmd.as_mut().map(|testpmd| [testpmd.port_stats(0), testpmd.port_stats(1)]);
        failed.push(format!("{}: testpmd {stats:?}", pod.port));
    }
    panic!("{}", failed.join("\n"));
}

/// What the switch says it has given to testpmd and got from it is what testpmd says: whatever was lost, the switch did not lose it on
/// the way without counting it.
fn unaccounted(node: &Node, pod: &mut Pod) -> Result<(), String> {
    let deadline = Instant::now() + node::PATIENCE;
    loop {
        let testpmd = pod.testpmd.as_mut().expect("a pod behind testpmd");
        let theirs = testpmd.port_stats(0).map_err(|error| error.to_string())?;
        let ours = node.port(&pod.port);
        if (theirs.rx_packets, theirs.tx_packets) == (ours.tx_packets, ours.rx_packets) {
            return Ok(());
        }
        // Neighbour discovery may be under way.
        if Instant::now() >= deadline {
            return Err(format!("{}: the counters of both sides differ: {ours:?}, {theirs:?}", pod.port));
        }
    }
}

#[test]
fn veth_with_every_kernel_kind() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    pairs(Kind::Veth, &Kind::KERNEL, &traffic::KERNEL);
}

#[test]
fn tap_with_the_other_kernel_kinds() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    pairs(Kind::Tap, &Kind::KERNEL[1..], &traffic::KERNEL);
}

#[test]
fn tun_with_the_other_kernel_kinds() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    pairs(Kind::Tun, &Kind::KERNEL[2..], &traffic::KERNEL);
}

#[test]
fn af_xdp_with_itself() {
    require!(root(), tool("iperf3"), tool("perl"), shuntd());
    pairs(Kind::AfXdp, &[Kind::AfXdp], &traffic::KERNEL);
}

#[test]
fn a_dpdk_device_with_every_kernel_kind() {
    require!(root(), tool("iperf3"), tool("perl"), tool("ethtool"), file("/dev/net/tun"), shuntd());
    pairs(Kind::Dpdk, &Kind::KERNEL, &traffic::AF_PACKET);
}

#[test]
fn a_dpdk_device_with_itself_vhost_user_and_memif() {
    require!(root(), tool("iperf3"), tool("perl"), tool("ethtool"), tool("dpdk-testpmd"), shuntd());
    pairs(Kind::Dpdk, &[Kind::Dpdk], &traffic::AF_PACKET);
    let terms = Terms { fragments: false, ..traffic::TESTPMD };
    pairs(Kind::Dpdk, &[Kind::VhostUser], &terms);
    pairs(Kind::Dpdk, &[Kind::Memif], &terms);
}

#[test]
fn vhost_user_with_every_kernel_kind() {
    require!(root(), tool("iperf3"), tool("perl"), tool("dpdk-testpmd"), file("/dev/net/tun"), shuntd());
    pairs(Kind::VhostUser, &Kind::KERNEL, &traffic::TESTPMD);
}

#[test]
fn memif_with_every_kernel_kind() {
    require!(root(), tool("iperf3"), tool("perl"), tool("dpdk-testpmd"), file("/dev/net/tun"), shuntd());
    pairs(Kind::Memif, &Kind::KERNEL, &traffic::TESTPMD);
}

#[test]
fn vhost_user_with_vhost_user_and_memif() {
    require!(root(), tool("iperf3"), tool("perl"), tool("dpdk-testpmd"), shuntd());
    pairs(Kind::VhostUser, &[Kind::VhostUser], &traffic::TESTPMD);
    pairs(Kind::VhostUser, &[Kind::Memif], &traffic::TESTPMD);
}

#[test]
fn memif_with_memif() {
    require!(root(), tool("iperf3"), tool("perl"), tool("dpdk-testpmd"), shuntd());
    pairs(Kind::Memif, &[Kind::Memif], &traffic::TESTPMD);
}

/// A virtual machine's own driver negotiates checksum and TSO, and its offloaded frames meet every kernel kind.
#[test]
fn a_virtual_machine_with_every_kernel_kind() {
    require!(root(), guest(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan {
        pods: &Kind::KERNEL,
        head: MEMORY,
        tail: "[[port]]\nname = \"vm\"\nkind = \"vhost-user\"\npath = \"DIR/vm.sock\"\n",
        ..Plan::default()
    });
    let inside = Interface {
        mac: Some("02:00:00:00:00:0b"),
        addrs: &["10.0.0.11/24", "fd00::11/64"],
        ..Interface::default()
    };
    let nic = Nic::new(Backend::Connect(node.path("vm.sock")), inside);
    let mut guest = Guest::boot(&Options { nics: vec![nic], tools: &["iperf3"], cpus: 1 }).unwrap();
    node.wait_port("vm", "the guest is attached", |port| port.link);
    let mut failed = Vec::new();
    // Its kernel holds the IPv6 address back while it looks for a duplicate.
    guest.sh("for i in $(seq 60); do ip addr show dev eth0 | grep -q tentative || exit 0; usleep 100000; done; exit 1").unwrap();
    for pod in &node.pods {
        let mut both = || -> Result<(), String> {
            let text = |error: shunt_tests::LabError| error.to_string();
            let echo = |address: &str, size| format!("ping -c 3 -i 0.2 -W 2 -s {size} {address}");
            for line in [echo(&pod.v4, 56), echo(&pod.v6, 56), echo(&pod.v4, 20_000)] {
                let answers = guest.run(&line, Duration::from_secs(30)).map_err(text)?.text;
                if !answers.contains("3 packets received") {
                    return Err(format!("{line}: {answers}"));
                }
            }
            let _server =
                pod.netns.spawn(&["iperf3", "--server", "--one-off", "--forceflush"]).map_err(text)?;
            let run = format!(
                "for i in 1 2 3 4 5 6 7 8 9 10; do iperf3 -c {} -t 1 -f m -J > /tmp/r && break; usleep 200000; done; \
                 grep -A 8 '\"sum_received\"' /tmp/r",
                pod.v4
            );
            let report = guest.sh(&run).map_err(text)?;
            let rate = report.split_once("\"bits_per_second\":").map(|(_, rest)| rest.trim_start());
            let rate: f64 = rate
                .and_then(|rest| rest.split(|c: char| c == ',' || c.is_whitespace()).next()?.parse().ok())
                .ok_or_else(|| format!("no rate in {report}"))?;
            println!("vm to {}: {} Mbit/s", pod.kind.name(), rate / 1e6);
            if rate < SLOW * 1e9 { Err(format!("tcp from the vm: {rate} bit/s")) } else { Ok(()) }
        };
        if let Err(error) = both() {
            failed.push(format!("vm with {}: {error}", pod.kind.name()));
        }
    }
    assert!(failed.is_empty(), "{}\n{:?}", failed.join("\n"), node.drops());
    let about = node.port("vm").about;
    assert!(about.contains("csum") && about.contains("tso"), "offloads were not negotiated: {about}");
}

/// The kernel's UDP and TCP at several message sizes through the slowest chain of conversions.
#[test]
fn message_sizes_from_small_to_64_kib() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = Node::start(&Plan { pods: &[Kind::Tap, Kind::Veth], ..Plan::default() });
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
    // 8,000 small datagrams a second, or 10 Mbit/s of large ones.
    for (length, mbits) in [(16, 1), (1472, 10), (1473, 10), (8_000, 10), (32_000, 10), (65_507, 10)] {
        let load = Udp { seconds: 1, mbits, length, reverse: false };
        let all_arrive = traffic::thrice(|| {
            let result = iperf.udp(&a.netns, &load).map_err(|error| error.to_string())?;
            let whole = result.sent > 0 && result.lost_on_the_way() == 0;
            if whole { Ok(()) } else { Err(format!("{length}: {result:?}, {:?}", node.ports())) }
        });
        all_arrive.unwrap();
    }
    let result = iperf.tcp(&a.netns, &Tcp { seconds: 1, streams: 4, reverse: true }).unwrap();
    assert!(result.gbits > traffic::KERNEL.floor_gbits, "{result:?}");
    node.assert_no_drops();
}
