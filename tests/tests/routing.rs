//! Routing between networks, with kernels' own stacks on the other side: echoes, TCP and UDP through the gateways, what a router
//! refuses, and what it does when routes, neighbours and pods come, move and go.

#[path = "routing/floating.rs"]
mod floating;
#[path = "routing/hops.rs"]
mod hops;
#[path = "routing/lab.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod lab;
#[path = "routing/masquerade.rs"]
mod masquerade;
#[path = "routing/messages.rs"]
mod messages;
mod node;
#[path = "routing/unreachable.rs"]
mod unreachable;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use lab::{
    PAIR, Places, Sniffer, all_answered, apply, config, dropped, echo, gateway_mac, gateway_v4, gateway_v6,
    losses, mac, routed, until_answered,
};
use node::traffic::{self, Terms};
use node::{Kind, PATIENCE, Pod};
use shunt_tests::iperf::{Tcp, Udp};
use shunt_tests::{Iperf, Ping, require};

#[test]
fn every_kernel_kind_reaches_the_other_network_with_all_it_can_send() {
    require!(root(), tool("iperf3"), tool("perl"), file("/dev/net/tun"), shuntd());
    let places = &[(Kind::Veth, 1), (Kind::Tun, 1), (Kind::Veth, 2), (Kind::Tap, 2), (Kind::Tun, 2)];
    let node = routed(places, "");
    let [veth, tun, others @ ..] = &node.pods[..] else { unreachable!("five pods") };
    let terms = Terms { floor_gbits: 0.01, ..traffic::KERNEL };
    let mut failed = Vec::new();
    let with_tap = others.iter().filter(|other| other.kind == Kind::Tap).map(|other| (tun, other));
    for (a, b) in others.iter().map(|other| (veth, other)).chain(with_tap) {
        if let Err(error) = traffic::thrice(|| traffic::brief(a, b, &terms)) {
            failed.push(format!("{} with {}: {error}", a.kind.name(), b.kind.name()));
        }
    }
    assert!(failed.is_empty(), "{}\n{:?}\n{:#?}", failed.join("\n"), node.drops(), node.ports());
    // Only what came before an answer to ARP or ND was lost.
    let mut losses = losses(&node);
    losses.retain(|what, _| !what.ends_with(": neighbor_unresolved"));
    assert_eq!(losses, BTreeMap::new());
}

/// Nobody has said a word yet: the first packet to each waits until its neighbour has answered.
#[test]
fn the_first_packet_to_a_new_neighbour_arrives() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = routed(&[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Tap, 2), (Kind::Tun, 1)], "");
    let [a, veth, tap, tun] = &node.pods[..] else { unreachable!("four pods") };
    for to in [&veth.v4, &tap.v4, &veth.v6, &tap.v6, &tun.v4] {
        assert!(echo(a, to, 64), "{to}: {:?}", node.drops());
    }
    assert!(echo(tun, &a.v4, 64) && echo(tun, &tap.v6, 64));
    let unresolved = |port: &str| dropped(&node, port, "neighbor_unresolved");
    assert_eq!(["pod1", "pod2", "pod3", "pod4"].map(unresolved), [0; 4]);
}

#[test]
fn a_routed_packet_loses_a_hop_and_gets_the_gateways_address() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    let node = routed(&[(Kind::Veth, 1), (Kind::Tap, 2)], "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    until_answered(&node, a, &b.v4);
    until_answered(&node, a, &b.v6);
    let sniffer = Sniffer::on(b);
    let addresses = [mac(&b.mac()), mac(&gateway_mac(2))].concat();
    assert!(echo(a, &b.v4, 7));
    let request = sniffer.wait(|frame| frame[12..14] == [8, 0] && frame[22] == 6 && frame[34] == 8);
    assert_eq!(request[..12], addresses);
    assert!(echo(a, &b.v6, 9));
    let request = sniffer.wait(|frame| frame[12..14] == [0x86, 0xdd] && frame[21] == 8 && frame[54] == 128);
    assert_eq!(request[..12], addresses);
    // Two is enough for one router.
    assert!(echo(a, &b.v4, 2) && echo(a, &b.v6, 2));
    assert_eq!(dropped(&node, "pod1", "ttl_exceeded"), 0);
    for (to, count) in [(&b.v4, 1), (&b.v6, 2)] {
        assert!(!echo(a, to, 1), "{to} was reached with a TTL of 1");
        assert_eq!(dropped(&node, "pod1", "ttl_exceeded"), count);
    }
    all_answered(&node, a, &b.v4);
    all_answered(&node, b, &a.v6);
}

#[test]
fn large_sends_are_routed_whole() {
    require!(root(), tool("iperf3"), shuntd());
    let node = routed(PAIR, "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    for address in [&b.v4, &b.v6] {
        until_answered(&node, a, address);
        let mut iperf = Iperf::serve(&b.netns, address).unwrap();
        let run = || {
            let before = node.ports();
            let result = iperf.tcp(&a.netns, &Tcp { seconds: 2, ..Tcp::default() }).unwrap();
            let after = node.ports();
            let mean = |port: &str, rx: bool| {
                let (new, old) = (&after[port], &before[port]);
                if rx {
                    (new.rx_bytes - old.rx_bytes) / (new.rx_packets - old.rx_packets).max(1)
                } else {
                    (new.tx_bytes - old.tx_bytes) / (new.tx_packets - old.tx_packets).max(1)
                }
            };
            let (came, went) = (mean("pod1", true), mean("pod2", false));
            println!("{address}: {result:?}, mean frame in {came}, out {went}");
            // A segment in a thousand sent again is what a busy machine's own queues do; a storm is far above.
            let segments = result.bytes / 1448;
            if result.gbits > 0.02 && result.retransmits < segments / 100 && came > 5_000 && went > 5_000 {
                return Ok(());
            }
            Err(format!("{address}: {result:?}, mean frame in {came}, out {went}"))
        };
        traffic::thrice(run).unwrap();
    }
    let mut iperf = Iperf::serve(&b.netns, &b.v4).unwrap();
    let udp = || {
        let result =
            iperf.udp(&a.netns, &Udp { seconds: 1, mbits: 50, length: 1400, reverse: false }).unwrap();
        if result.sent > 3_000 && result.lost_on_the_way() == 0 { Ok(()) } else { Err(format!("{result:?}")) }
    };
    traffic::thrice(udp).unwrap();
}

#[test]
fn gateways_answer_arp_nd_and_echoes_and_say_that_nothing_else_is_there() {
    require!(root(), shuntd());
    let node = routed(PAIR, "");
    for (pod, network) in node.pods.iter().zip([1, 2]) {
        for gateway in [gateway_v4(network), gateway_v6(network)] {
            assert!(echo(pod, &gateway, 64) && echo(pod, &gateway, 1), "{gateway} does not answer");
            let known = pod.netns.exec(&["ip", "neigh", "show", &gateway]).unwrap().stdout;
            assert!(known.contains(&gateway_mac(network)), "{gateway}: {known}");
        }
        assert_eq!(dropped(&node, &pod.port, "for_switch"), 0, "{:?}", node.drops());
    }
    // The other network's gateway is the switch, too.
    for gateway in [gateway_v4(2), gateway_v6(2)] {
        assert!(echo(&node.pods[0], &gateway, 64) && echo(&node.pods[0], &gateway, 1));
    }
    let large = Ping { size: 1400, ..Ping::to(&gateway_v4(1)) }.run(&node.pods[0].netns).unwrap();
    assert_eq!(large.received, 1);
    assert_eq!(dropped(&node, "pod1", "for_switch"), 0);
    // Nobody listens there, for UDP as little as for TCP: the pod's own kernel says so, at once.
    for (gateway, kind) in [(1, "SOCK_DGRAM"), (1, "SOCK_STREAM"), (2, "SOCK_DGRAM")] {
        for address in [gateway_v4(gateway), gateway_v6(gateway)] {
            let said = messages::connect(&node.pods[0], &address, kind);
            assert!(said.contains("refused"), "{address} {kind}: {said}");
        }
    }
    assert_eq!(dropped(&node, "pod1", "for_switch"), 6);
    assert!(node.learned(&gateway_mac(1)).is_empty() && node.learned(&gateway_mac(2)).is_empty());
}

#[test]
fn networks_without_a_common_router_do_not_reach_each_other() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let node = routed(&[(Kind::Veth, 1), (Kind::Tap, 2), (Kind::Tap, 3), (Kind::Veth, 4)], "");
    let [a, b, lone, bridged] = &node.pods[..] else { unreachable!("four pods") };
    until_answered(&node, a, &b.v4);
    until_answered(&node, a, &b.v6);
    for (at, to) in [(&lone.v4, 3_u64), (&lone.v6, 3), (&bridged.v4, 4), (&bridged.v6, 4)] {
        let before = dropped(&node, "pod1", "no_route");
        assert!(!echo(a, at, 64), "network {to} was reached");
        assert_eq!(dropped(&node, "pod1", "no_route"), before + 1, "{at}: {:?}", node.drops());
    }
    let before = dropped(&node, "pod3", "no_route");
    assert!(!echo(lone, &a.v4, 64));
    assert_eq!(dropped(&node, "pod3", "no_route"), before + 1);
    // Without a gateway nobody answers, not even for what would be another network's gateway address.
    assert!(!echo(bridged, &a.v4, 64) && !echo(bridged, &gateway_v4(4), 64));
    all_answered(&node, a, &b.v4);
}

#[test]
fn routes_are_added_changed_and_removed_while_traffic_flows() {
    require!(root(), shuntd());
    let node = routed(PAIR, "");
    let [a, b] = &node.pods[..] else { unreachable!("two pods") };
    for address in ["10.7.0.1/32", "fd07::1/128"] {
        b.netns.exec(&["ip", "addr", "add", address, "dev", "lo"]).unwrap();
    }
    until_answered(&node, a, &b.v4);
    let flood = a.netns.spawn(&["ping", "-n", "-i", "0.01", "-W", "2", &b.v4]).unwrap();
    flood.expect("icmp_seq=", 0, PATIENCE).unwrap();

    for to in ["10.7.0.1", "fd07::1"] {
        let before = dropped(&node, "pod1", "no_route");
        assert!(!echo(a, to, 64));
        assert_eq!(dropped(&node, "pod1", "no_route"), before + 1);
    }
    let via = "{ to = \"10.7.0.0/16\", via = \"10.0.2.2\" }, { to = \"fd07::/16\", via = \"fd00:2::2\" }";
    apply(&node, &config(via, &node.pods, PAIR));
    for to in ["10.7.0.1", "fd07::1"] {
        until_answered(&node, a, to);
        all_answered(&node, a, to);
    }
    // Its neighbour in 10.7.0.0/16 is dropped on purpose, and the longest prefix counts.
    apply(&node, &config(&format!("{via}, {{ to = \"10.7.0.1/32\", blackhole = true }}"), &node.pods, PAIR));
    assert!(!echo(a, "10.7.0.1", 64));
    assert_eq!(dropped(&node, "pod1", "blackhole"), 1);
    assert!(echo(a, "fd07::1", 64));
    apply(&node, &config("", &node.pods, PAIR));
    let before = dropped(&node, "pod1", "no_route");
    assert!(!echo(a, "10.7.0.1", 64) && !echo(a, "fd07::1", 64));
    assert_eq!(dropped(&node, "pod1", "no_route"), before + 2);

    // None of it touched the flow beside it.
    flood.signal(nix::sys::signal::Signal::SIGINT);
    let mut flood = flood;
    let ended = flood.wait(PATIENCE).unwrap();
    let said = flood.stdout().text(0);
    assert!(
        ended.success() && said.contains(" 0% packet loss"),
        "{ended}: {}",
        &said[said.len().saturating_sub(300)..]
    );
}

/// A pod's address turns up behind another port, once with its MAC address (it has moved) and once with another (somebody else
/// took over): packets that are routed to it follow.
#[test]
fn a_neighbour_that_moves_is_followed() {
    require!(root(), shuntd());
    let node = routed(&[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Veth, 2)], "");
    let [a, b, c] = &node.pods[..] else { unreachable!("three pods") };
    let (was, other) = (b.mac(), c.mac());
    until_answered(&node, a, &b.v4);
    node.wait_learned(&was, &["pod2"]);

    let inside = |pod: &Pod, lines: &[&str]| {
        for line in lines {
            pod.netns.exec(&line.split(' ').collect::<Vec<_>>()).unwrap();
        }
    };
    let take = format!("ip addr add {}/24 dev eth0", b.v4);
    let cede = format!("ip addr del {}/24 dev eth0", b.v4);
    let default = format!("ip route replace default via {} dev eth0", gateway_v4(2));
    inside(b, &["ip link set dev eth0 down"]);
    inside(c, &["ip link set dev eth0 down", &format!("ip link set dev eth0 address {was}"), &take]);
    inside(c, &["ip link set dev eth0 up", &default]);
    // It must say something to be found: its kernel asks for the gateway.
    echo(c, &gateway_v4(2), 64);
    node.wait_learned(&was, &["pod3"]);
    until_answered(&node, a, &b.v4);
    all_answered(&node, a, &b.v4);

    inside(c, &[&cede, "ip link set dev eth0 down", &format!("ip link set dev eth0 address {other}")]);
    inside(c, &["ip link set dev eth0 up", &take, &default]);
    // From the address in question, so that the question for the gateway carries it.
    let said = c.netns.cmd(&["ping", "-n", "-c", "1", "-W", "1", "-I", &b.v4, &gateway_v4(2)]).run().unwrap();
    assert_eq!(said.status.code(), Some(0), "{said:?}");
    until_answered(&node, a, &b.v4);
    all_answered(&node, a, &b.v4);
    node.wait_learned(&other, &["pod3"]);
}

#[test]
fn a_pod_that_goes_is_asked_for_and_found_when_it_comes_back() {
    require!(root(), file("/dev/net/tun"), shuntd());
    let places: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Tap, 2)];
    let node = routed(places, "");
    let [a, b, c] = &node.pods[..] else { unreachable!("three pods") };
    for to in [&b.v4, &c.v4] {
        until_answered(&node, a, to);
    }
    assert_eq!(dropped(&node, "pod2", "neighbor_unresolved"), 0);
    let sniffer = Sniffer::on(c);
    node.cli("port del pod2");
    let before = dropped(&node, "pod1", "neighbor_unresolved");
    assert!(!echo(a, &b.v4, 64));
    // The packet waits for an answer first.
    let deadline = Instant::now() + PATIENCE;
    while dropped(&node, "pod1", "neighbor_unresolved") == before {
        assert!(Instant::now() < deadline, "{:?}", node.drops());
        thread::sleep(Duration::from_millis(20));
    }
    // The others in its network are asked where it is, by the gateway.
    let request = sniffer
        .wait(|frame| frame[12..14] == [8, 6] && frame[20..22] == [0, 1] && frame[38..42] == [10, 0, 2, 2]);
    assert_eq!((&request[..6], &request[6..12]), (&[0xff; 6][..], &mac(&gateway_mac(2))[..]));
    all_answered(&node, a, &c.v4);
    apply(&node, &config("", &node.pods, places));
    node.wait_port("pod2", "it is back", |port| port.oper_up && port.link);
    until_answered(&node, a, &b.v4);
    until_answered(&node, b, &a.v6);
    all_answered(&node, a, &b.v4);
}
