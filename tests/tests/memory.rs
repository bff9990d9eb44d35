//! Memory does not grow: not by traffic, not by changes, not by ports that come and go. The short form of the ten minutes that
//! `bench` measures.

mod node;

use std::fs;

use node::{Kind, Node, Plan, traffic};
use shunt_tests::iperf::Tcp;
use shunt_tests::{Iperf, require};

const SWAPS: usize = 200;
/// The last rounds may add this: allocators keep some pages, and a log line is longer than the last one.
const GROWTH_KIB: u64 = 2048;

/// Resident memory of a process in KiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Descriptors a process has open.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn rounds(node: &Node, swaps: usize, seconds: u32) {
    for n in 0..swaps / 4 {
        let kind =
            if n % 2 == 0 { "kind=tap device=late0" } else { "kind=dpdk devargs=net_null_late,no-rx=1" };
        node.cli(&format!("port add late {kind}"));
        node.cli("port down late");
        node.cli("port up late");
        node.cli("port del late");
    }
    let [a, b] = [&node.pods[0], &node.pods[1]];
    let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
    iperf.tcp(&a.netns, &Tcp { seconds, streams: 4, reverse: false }).unwrap();
}

#[test]
fn traffic_and_swaps_leave_nothing_behind() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let mut kinds = vec![Kind::Veth; 5];
    kinds.extend([Kind::Tap; 5]);
    let node = Node::start(&Plan { pods: &kinds, quiet: true, ..Plan::default() });
    let pid = node.shuntd.pid();
    let start = resident(pid);
    // The first use of each path touches pages that then stay.
    traffic::ping_v4(&node.pods[0], &node.pods[9], 3).unwrap();
    rounds(&node, SWAPS, 2);
    let (warm, open) = (resident(pid), descriptors(pid));
    rounds(&node, SWAPS, 10);
    let (after, open_after) = (resident(pid), descriptors(pid));
    println!(
        "resident with 10 ports: {start} KiB at start, {warm} KiB warm, {after} KiB after; {open} descriptors"
    );
    assert!(after <= warm + GROWTH_KIB, "{warm} KiB grew to {after} KiB");
    assert!(open_after <= open, "{open} descriptors grew to {open_after}");
    let (free, all) = node.buffers();
    assert!(free + 1024 >= all, "buffers are missing: {free} free of {all}");
}
