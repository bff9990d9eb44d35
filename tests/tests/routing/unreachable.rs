//! What senders hear of packets that the switch does not pass on, and of packets that are too long: their own kernels say.

use std::time::Instant;

use crate::lab::{PAIR, apply, config, dropped, gateway_v4, gateway_v6, routed, until_answered};
use crate::messages::{self, ping};
use crate::node::{self, Kind, Node, PATIENCE};
use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, require};

#[test]
fn a_sender_is_told_why_at_once() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = routed(
        &[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Tun, 1)],
        "{ to = \"192.0.2.0/24\", blackhole = true }",
    );
    let [a, b, tun] = &node.pods[..] else { unreachable!("three pods") };
    until_answered(&node, a, &b.v4);
    until_answered(&node, a, &b.v6);
    for from in [a, tun] {
        for (args, gateway, text) in [
            (["-t1", &*b.v4], gateway_v4(1), "Time to live exceeded"),
            (["-t1", &*b.v6], gateway_v6(1), "Time exceeded: Hop limit"),
            (["-t64", "198.51.100.1"], gateway_v4(1), "Destination Net Unreachable"),
            (["-t64", "fd99::1"], gateway_v6(1), "Destination unreachable: No route"),
        ] {
            let said = ping(from, &args);
            assert!(said.contains(&format!("From {gateway}")) && said.contains(text), "{args:?}: {said}");
        }
        // On purpose nothing is said here.
        assert!(!ping(from, &["192.0.2.1"]).contains("From"));
    }
    // Nobody is there: three seconds of asking are in vain.
    let began = Instant::now();
    for (to, text) in [("10.0.2.99", "Destination Host Unreachable"), ("fd00:2::99", "Address unreachable")] {
        while !ping(a, &["-W5", to]).contains(text) {
            assert!(began.elapsed() < PATIENCE, "{to} is not said to be unreachable: {:?}", node.drops());
        }
    }
    assert!(dropped(&node, "pod1", "neighbor_unresolved") >= 2);
}

#[test]
fn a_flood_of_dying_packets_is_answered_at_a_limited_rate() {
    require!(root(), shuntd());
    let node = routed(PAIR, "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    until_answered(&node, a, &b.v4);
    let replies = || {
        let workers: serde_json::Value = serde_json::from_str(&node.cli("show workers --json")).unwrap();
        let sum = |key: &str| -> u64 {
            workers.as_array().unwrap().iter().map(|worker| worker[key].as_u64().unwrap()).sum()
        };
        (sum("replies"), sum("replies_limited"))
    };
    let before = replies();
    let began = Instant::now();
    messages::die(a, &b.v4, 5_000);
    let took = began.elapsed();
    // Read while the last are still on their way, the figures do not add up yet.
    let (sent, limited, died) = loop {
        let ((sent, limited), died) = (replies(), dropped(&node, "pod1", "ttl_exceeded"));
        let (sent, limited) = (sent - before.0, limited - before.1);
        if sent + limited == died || began.elapsed() > PATIENCE {
            break (sent, limited, died);
        }
    };
    // 100 a second after the first 50, for each worker that gets some.
    let most = 4.0 * (50.0 + 100.0 * took.as_secs_f64()) + 10.0;
    assert!(sent >= 50 && (sent as f64) < most, "{sent} sent, {limited} not, in {took:?}");
    assert_eq!((sent + limited, limited > 0), (died, true), "{sent} sent, {limited} not, {died} died");
}

/// Two pods whose kernels believe in 1500 everywhere, the second in a network that takes `mtu`.
fn narrow(mtu: u16, keys: &str) -> Node {
    let node = routed(PAIR, "");
    let second = format!("name = \"net2\"\nmtu = {mtu}\n{keys}");
    apply(&node, &config("", &node.pods, PAIR).replace("name = \"net2\"\nmtu = 1500\n", &second));
    for pod in &node.pods {
        node.wait_port(&pod.port, "it is open", |port| port.oper_up && port.link);
    }
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    until_answered(&node, a, &b.v4);
    until_answered(&node, a, &b.v6);
    node
}

#[test]
fn tcp_finds_the_mtu_of_the_path() {
    require!(root(), tool("iperf3"), shuntd());
    let node = narrow(1400, "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    // Each alone knows no better until the gateway says so.
    for (args, gateway, text) in [
        (["-Mdo", "-s1472", &*b.v4], gateway_v4(1), "(mtu = 1400)"),
        (["-Mdo", "-s1452", &*b.v6], gateway_v6(1), "Packet too big: mtu=1400"),
    ] {
        let said = ping(a, &args);
        assert!(said.contains(&format!("From {gateway}")) && said.contains(text), "{args:?}: {said}");
    }
    assert_eq!(dropped(&node, "pod1", "too_big"), 2);
    for (family, to) in [("-4", &b.v4), ("-6", &b.v6)] {
        // Forgotten again, so that TCP has to find it by itself.
        a.netns.exec(&["ip", family, "route", "flush", "cache"]).unwrap();
        let mut iperf = Iperf::serve(&b.netns, to).unwrap();
        let before = dropped(&node, "pod1", "too_big");
        let result = iperf.tcp(&a.netns, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
        let told = dropped(&node, "pod1", "too_big") - before;
        assert!(result.bytes > 10_000_000, "{to}: {result:?}, {:?}", node.drops());
        // What was on its way when the first was refused is lost with it, and no more.
        assert!((1..200).contains(&told), "{to}: {told} packets were too big: {result:?}");
        let route = a.netns.exec(&["ip", family, "route", "get", to]).unwrap().stdout;
        assert!(route.contains("mtu 1400"), "{route}");
    }
}

#[test]
fn what_may_be_cut_arrives_whole() {
    require!(root(), tool("iperf3"), shuntd());
    let node = narrow(1280, "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    // Whole at first, then in fragments that are cut again; the answers come back through a network that takes them.
    for size in ["-s1252", "-s1253", "-s1472", "-s4000", "-s60000"] {
        let said = ping(a, &["-Mdont", size, &b.v4]);
        assert!(said.contains(" 0% packet loss"), "{size}: {said} {:?}", node.drops());
    }
    assert_eq!(dropped(&node, "pod1", "too_big"), 0);
    // TCP that does not mind being cut gets smaller segments instead.
    a.netns.exec(&["sysctl", "-qw", "net.ipv4.ip_no_pmtu_disc=1"]).unwrap();
    let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
    let result = iperf.tcp(&a.netns, &Tcp { seconds: 1, ..Tcp::default() }).unwrap();
    assert!(result.bytes > 10_000_000, "{result:?}, {:?}", node.drops());
    let udp = || {
        let load = Udp { seconds: 1, mbits: 20, length: 1400, reverse: false };
        let result = iperf.udp(&a.netns, &load).unwrap();
        if result.sent > 500 && result.lost_on_the_way() == 0 { Ok(()) } else { Err(format!("{result:?}")) }
    };
    node::traffic::thrice(udp).unwrap();
    assert_eq!(dropped(&node, "pod1", "too_big"), 0, "{:?}", node.drops());
}

#[test]
fn with_the_mss_clamped_nothing_is_too_big() {
    require!(root(), tool("iperf3"), shuntd());
    let node = narrow(1300, "mss_clamp = true\n");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    for (client, server, to) in [(a, b, &b.v4), (a, b, &b.v6), (b, a, &a.v4), (b, a, &a.v6)] {
        let mut iperf = Iperf::serve(&server.netns, to).unwrap();
        for reverse in [false, true] {
            let result = iperf.tcp(&client.netns, &Tcp { seconds: 1, reverse, ..Tcp::default() }).unwrap();
            assert!(result.bytes > 10_000_000, "{to}: {result:?}, {:?}", node.drops());
        }
    }
    for port in ["pod1", "pod2"] {
        assert_eq!(dropped(&node, port, "too_big"), 0, "{:?}", node.drops());
    }
}
