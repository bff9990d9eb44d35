//! Fragments that kernels make: echoes and datagrams longer than the MTU, out of a masqueraded network and back.

use shunt_tests::iperf::Udp;
use shunt_tests::{Iperf, Ping, require};

use crate::lab::{losses, until_answered};
use crate::node::{Node, Pod, traffic};
use crate::site::masquerades;

/// Echoes of 4,000 and of 60,000 bytes are answered.
#[track_caller]
fn long_echoes(node: &Node, from: &Pod, to: &str) {
    until_answered(node, from, to);
    let before = losses(node);
    for size in [4000, 60_000] {
        let ping = Ping { count: 20, wait_ms: 2000, size, ..Ping::to(to) };
        let series = || {
            let answers = ping.run(&from.netns).map_err(|error| error.to_string())?;
            if (answers.received, answers.duplicates) == (20, 0) {
                Ok(())
            } else {
                Err(format!("{answers:?}"))
            }
        };
        traffic::thrice(series)
            .unwrap_or_else(|error| panic!("{size} bytes to {to}: {error}; {:?}", node.drops()));
    }
    assert_eq!(losses(node), before);
}

/// Datagrams of 4,000 bytes, both ways.
#[track_caller]
fn long_datagrams(node: &Node, from: &Pod, server: &Pod, to: &str) {
    let mut iperf = Iperf::serve(&server.netns, to).unwrap();
    for reverse in [false, true] {
        let load = Udp { seconds: 1, mbits: 40, length: 4000, reverse };
        let series = || {
            let carried = iperf.udp(&from.netns, &load).map_err(|error| error.to_string())?;
            // A thousand of them a second, for a second.
            if carried.sent > 500 && carried.lost_on_the_way() == 0 {
                Ok(())
            } else {
                Err(format!("{carried:?}"))
            }
        };
        traffic::thrice(series)
            .unwrap_or_else(|error| panic!("to {to}, reverse {reverse}: {error}; {:?}", node.drops()));
    }
}

#[test]
fn ipv4_fragmentation() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let [a, tap, outside] = &node.pods[..] else { unreachable!("three pods") };
    for pod in [a, tap] {
        long_echoes(&node, pod, &outside.v4);
        long_datagrams(&node, pod, outside, &outside.v4);
    }
}

#[test]
fn ipv6_fragmentation() {
    require!(root(), tool("iperf3"), file("/dev/net/tun"), shuntd());
    let node = masquerades("");
    let [a, tap, outside] = &node.pods[..] else { unreachable!("three pods") };
    for pod in [a, tap] {
        long_echoes(&node, pod, &outside.v6);
        long_datagrams(&node, pod, outside, &outside.v6);
    }
}
