//! Clients outside of the cluster: node ports, load balancer and external addresses, with both traffic policies.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use shunt_tests::require;

use crate::cluster::{Answer, config, datagram, http, http_at_last, serve, service};
use crate::lab::{Places, Sniffer, apply, dropped, echo, gateway_v4, gateway_v6, routed, until_answered};
use crate::node::{Kind, Node};

/// Two pods of network 1, which is masqueraded; and a station of network 2 without any route.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 1), (Kind::Veth, 2)];
const BALANCER: &str = "10.0.2.100";
const BALANCER_V6: &str = "fd00:2::100";

fn with(keys: &str, backends: impl Fn(&Node) -> Vec<String>) -> Node {
    let node = routed(PLACES, "");
    for family in ["-4", "-6"] {
        node.pods[2].netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    change(&node, keys, &backends(&node));
    node
}

fn change(node: &Node, keys: &str, backends: &[String]) {
    let backends: Vec<_> = backends.iter().map(String::as_str).collect();
    apply(node, &config(node, PLACES, true, &service(keys, &backends)));
}

const NODE_PORTS: &str = "ports = [{ name = \"t\", port = 80, node_port = 30080 }, { name = \"u\", protocol = \"udp\", port = 80, node_port = 30080 }]\n";

fn both(node: &Node) -> Vec<String> {
    vec![node.pods[0].v4.clone(), node.pods[0].v6.clone()]
}

#[test]
fn node_ports_are_the_nodes_and_hide_the_client() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with(NODE_PORTS, both);
    let [server, other, outside] = &node.pods[..] else { unreachable!("three pods") };
    let _running = serve(server, 8080);
    for (at, hidden) in [(gateway_v4(2), gateway_v4(1)), (gateway_v6(2), gateway_v6(1))] {
        let expected = Answer { name: server.port.clone(), peer: hidden };
        assert_eq!(
            http_at_last(&node, outside, &at, 30080),
            expected,
            "source and destination are translated"
        );
        assert_eq!(datagram(outside, &at, 30080), Ok(expected));
    }
    // Another port of the node is no service's.
    for at in [gateway_v4(2), gateway_v6(2)] {
        assert!(datagram(outside, &at, 30081).unwrap_err().contains("refused"));
    }
    // The same port of another host is that host's, though the question is routed and every table sees it. (Without masquerading,
    // so that the host's answers are its own.)
    apply(&node, &config(&node, PLACES, false, &service(NODE_PORTS, &[&server.v4, &server.v6])));
    let _elsewhere = serve(other, 30080);
    for (own, to, via) in [(&outside.v4, &other.v4, gateway_v4(2)), (&outside.v6, &other.v6, gateway_v6(2))] {
        outside.netns.exec(&["ip", "route", "add", to, "via", &via]).unwrap();
        until_answered(&node, outside, to);
        let seen = Answer { name: other.port.clone(), peer: own.clone() };
        assert_eq!(http(outside, to, 30080), Ok(seen.clone()), "{:?}", node.drops());
        assert_eq!(datagram(outside, to, 30080), Ok(seen), "{:?}", node.drops());
        let family = if to.contains(':') { "ip6" } else { "ip4" };
        let walk = |to: &str| {
            node.cli(&format!(
                "trace --in pod3 {family}.src=={own}&&{family}.dst=={to}&&tcp.src==1&&tcp.dst==30080"
            ))
        };
        let (theirs, ours) = (walk(to), walk(&via));
        assert!(ours.contains("node port of service shop/web"), "{ours}");
        assert!(!theirs.contains("shop/web") && theirs.contains("to pod2"), "{theirs}");
    }
}

#[test]
fn with_the_policy_local_the_client_is_seen_and_nobody_else_serves() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let keys = format!("{NODE_PORTS}external_traffic_policy = \"local\"\n");
    let here = |node: &Node| {
        vec![format!("{} node = \"this\"", node.pods[0].v4), "10.0.1.77 node = \"other\"".to_owned()]
    };
    let node = with("", |_| Vec::new());
    let [server, _, outside] = &node.pods[..] else { unreachable!("three pods") };
    let named = |backends: Vec<String>| {
        let backends: Vec<_> = backends.iter().map(String::as_str).collect();
        let text = config(&node, PLACES, true, &service(&keys, &backends));
        apply(&node, &format!("[node]\nname = \"this\"\n{text}"));
    };
    named(here(&node));
    let _running = serve(server, 8080);
    let seen = Answer { name: server.port.clone(), peer: outside.v4.clone() };
    assert_eq!(http_at_last(&node, outside, &gateway_v4(2), 30080), seen);
    for _ in 0..10 {
        assert_eq!(datagram(outside, &gateway_v4(2), 30080), Ok(seen.clone()), "{:?}", node.drops());
    }
    named(vec!["10.0.1.77 node = \"other\"".to_owned()]);
    let before = dropped(&node, "pod3", "service_none_here");
    assert_eq!(datagram(outside, &gateway_v4(2), 30080).unwrap_err(), "silence");
    assert!(dropped(&node, "pod3", "service_none_here") > before);
}

#[test]
fn a_load_balancer_address_is_the_switchs_and_only_for_whom_it_is_meant() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let keys = format!("load_balancer_ips = [\"{BALANCER}\", \"{BALANCER_V6}\"]\n");
    let node = with(&keys, both);
    let [server, other, outside] = &node.pods[..] else { unreachable!("three pods") };
    let _running = serve(server, 8080);
    let families =
        [(BALANCER, gateway_v4(1), other.v4.clone()), (BALANCER_V6, gateway_v6(1), other.v6.clone())];
    for (at, gateway, inner) in &families {
        // It is in the station's own subnet: it asks for it by ARP, or ND.
        let hidden = Answer { name: server.port.clone(), peer: gateway.clone() };
        assert_eq!(http_at_last(&node, outside, at, 80), hidden);
        assert_eq!(datagram(outside, at, 80), Ok(hidden));
        assert!(echo(outside, at, 64), "{at}: {:?}", node.drops());
        // From inside it is the short way.
        let seen = Answer { name: server.port.clone(), peer: inner.clone() };
        assert_eq!(http_at_last(&node, other, at, 80), seen);
    }
    let ranged = format!("{keys}source_ranges = [\"10.0.1.0/24\", \"fd00:1::/64\"]\n");
    change(&node, &ranged, &both(&node));
    for (at, ..) in &families {
        assert_eq!(http_at_last(&node, other, at, 80).name, server.port);
        let before = dropped(&node, "pod3", "service_source_refused");
        assert_eq!(datagram(outside, at, 80).unwrap_err(), "silence");
        assert!(dropped(&node, "pod3", "service_source_refused") > before);
    }
    // Who is in the other family's range alone is in none.
    let one = format!("{keys}source_ranges = [\"10.0.0.0/16\"]\n");
    change(&node, &one, &both(&node));
    assert_eq!(http_at_last(&node, outside, BALANCER, 80).name, server.port);
    assert_eq!(datagram(outside, BALANCER_V6, 80).unwrap_err(), "silence");
}

/// Cluster addresses are no neighbours: who asks for one by ARP or ND, outside or inside, is not answered.
#[test]
fn nobody_answers_for_a_cluster_address() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let node = with("cluster_ips = [\"10.96.0.10\", \"fd00:96::10\"]\n", both);
    let [_, inside, outside] = &node.pods[..] else { unreachable!("three pods") };
    for (from, network) in [(inside, 1), (outside, 2)] {
        for (at, gateway) in [("10.96.0.10", gateway_v4(network)), ("fd00:96::10", gateway_v6(network))] {
            from.netns.exec(&["ip", "route", "replace", at, "dev", "eth0"]).unwrap();
            from.netns.exec(&["ip", "neigh", "flush", "dev", "eth0"]).unwrap();
            let sniffer = Sniffer::on(from);
            assert!(!echo(from, at, 64), "{at}: {:?}", node.drops());
            // A later question, for the gateway, is answered; whatever came before that has been seen.
            until_answered(&node, from, &gateway);
            let echoed = |frame: &[u8]| {
                let v4 = frame[12..14] == [8, 0] && frame[23] == 1 && frame[34] == 0;
                v4 || frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 129
            };
            sniffer.wait(echoed);
            let answered = |frame: &[u8]| {
                let arp = frame[12..14] == [8, 6] && frame[28..32] == [10, 96, 0, 10];
                let nd = frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54] == 136;
                arp || nd && frame[62..70] == [0xfd, 0, 0, 0x96, 0, 0, 0, 0]
            };
            assert_eq!(sniffer.count(answered), 0, "{at}");
            let known = from.netns.exec(&["ip", "neigh", "show", at]).unwrap().stdout;
            assert!(known.contains(at) && !known.contains("lladdr"), "{known}");
        }
    }
}

/// A client outside knows at once that nobody serves, by a reset or an ICMP error, and not after a timeout.
#[test]
fn who_comes_from_outside_where_nobody_serves_is_refused_at_once() {
    require!(root(), tool("perl"), tool("curl"), shuntd());
    let keys = format!("{NODE_PORTS}load_balancer_ips = [\"{BALANCER}\", \"{BALANCER_V6}\"]\n");
    let node = with(&keys, |_| Vec::new());
    let [server, _, outside] = &node.pods[..] else { unreachable!("three pods") };
    let ways = [
        (gateway_v4(2), 30080),
        (gateway_v6(2), 30080),
        (BALANCER.to_owned(), 80),
        (BALANCER_V6.to_owned(), 80),
    ];
    for (at, port) in &ways {
        until_answered(&node, outside, at);
        let before = dropped(&node, "pod3", "service_no_endpoints");
        let sniffer = Sniffer::on(outside);
        let (error, took) = http(outside, at, *port).unwrap_err();
        assert!(took < Duration::from_secs(1), "{at}:{port}: {error} after {took:?}");
        let begin = Instant::now();
        let heard = datagram(outside, at, *port).unwrap_err();
        assert!(heard.contains("refused"), "{at}:{port}: {heard}");
        assert!(begin.elapsed() < Duration::from_secs(1), "{at}:{port}: after {:?}", begin.elapsed());
        assert_eq!(dropped(&node, "pod3", "service_no_endpoints"), before + 2);
        // TCP is reset in the service's name, all else hears of an unreachable port.
        let from: Vec<u8> = match at.parse().unwrap() {
            IpAddr::V4(at) => at.octets().into(),
            IpAddr::V6(at) => at.octets().into(),
        };
        sniffer.wait(|frame| {
            let v4 = frame[12..14] == [8, 0] && frame[23] == 6 && frame[26..30] == from && frame[47] & 4 != 0;
            let v6 = frame[12..14] == [0x86, 0xdd] && frame[20] == 6;
            v4 || v6 && frame[22..38] == from && frame[67] & 4 != 0
        });
        sniffer.wait(|frame| {
            let v4 = frame[12..14] == [8, 0] && frame[23] == 1 && frame[34..36] == [3, 3];
            let v6 = frame[12..14] == [0x86, 0xdd] && frame[20] == 58 && frame[54..56] == [1, 4];
            if from.len() == 4 { v4 } else { v6 }
        });
    }
    // Not for longer than it is so.
    change(&node, &keys, &both(&node));
    let _running = serve(server, 8080);
    for (at, port) in &ways {
        assert_eq!(http_at_last(&node, outside, at, *port).name, server.port);
    }
}
