//! Open vSwitch's own conntrack scenarios (the names of its `tests/system-traffic.at`) with a translated destination: a service's
//! address and a forwarded port. The others are with the tests of connections (`tests/conntrack.rs`).

use std::net::IpAddr;

use shunt_tests::require;

use crate::cluster::{Answer, Talk, config, datagram, http, http_at_last, serve, service};
use crate::lab::{Places, Sniffer, apply, dropped, gateway_v4, gateway_v6, routed, until_answered};
use crate::node::{Kind, Node, Pod};
use crate::{ADDRESSES, V4, V6};

/// A client and a backend, each in a network of its own, and another pod beside the client.
const PLACES: Places<'_> = &[(Kind::Veth, 1), (Kind::Veth, 2), (Kind::Tap, 1)];

/// A node where port 80 of a service, and port 8081 of the router beside the client, lead to port 8080 of the backend. Nothing is
/// masqueraded.
fn forwarding(keys: &str) -> Node {
    let node = routed(PLACES, "");
    let backend = &node.pods[1];
    let rows = ["tcp", "udp"].map(|protocol| {
        let row = |external: String, internal: &str| {
            format!("{{ protocol = \"{protocol}\", external = \"{external}:8081\", internal = \"{internal}:8080\" }}")
        };
        let v6 = row(format!("[{}]", gateway_v6(1)), &format!("[{}]", backend.v6));
        format!("{}, {v6}", row(gateway_v4(1), &backend.v4))
    });
    let router = format!("name = \"common\"\nport_forwards = [{}]\n", rows.join(", "));
    let web = service(keys, &[&backend.v4, &backend.v6]);
    apply(&node, &config(&node, PLACES, false, &web).replacen("name = \"common\"\n", &router, 1));
    node
}

fn three(node: &Node) -> (&Pod, &Pod, &Pod) {
    let [client, backend, other] = &node.pods[..] else { unreachable!("three pods") };
    (client, backend, other)
}

fn own(pod: &Pod, v6: bool) -> &str {
    if v6 { &pod.v6 } else { &pod.v4 }
}

/// Where the client asks: the service's address, and the router's own.
fn fronts(v6: bool) -> [(String, u16); 2] {
    let (service, router) = if v6 { (V6, gateway_v6(1)) } else { (V4, gateway_v4(1)) };
    [(service.to_owned(), 80), (router, 8081)]
}

/// HTTP and a datagram to each of the fronts: the backend sees its clients themselves, and what it is not asked through a front
/// stays as it is.
#[track_caller]
fn dnat(v6: bool) {
    let node = forwarding(ADDRESSES);
    let (client, backend, other) = three(&node);
    let _running = serve(backend, 8080);
    for from in [client, other] {
        let seen = Answer { name: backend.port.clone(), peer: own(from, v6).to_owned() };
        for (at, port) in fronts(v6) {
            assert_eq!(http_at_last(&node, from, &at, port), seen);
            assert_eq!(datagram(from, &at, port), Ok(seen.clone()), "{at}: {:?}", node.drops());
            let listed = node.cli(&format!("conntrack -L -p tcp -s {} -d {at}", own(from, v6)));
            let back = format!("src={} dst={} sport=8080 dport=", own(backend, v6), own(from, v6));
            assert!(listed.contains(&back) && listed.contains(&format!("dport={port} ")), "{listed}");
        }
        assert_eq!(http(from, own(backend, v6), 8080), Ok(seen), "without a translation");
    }
}

#[test]
fn simple_dnat() {
    require!(root(), tool("perl"), tool("curl"), file("/dev/net/tun"), shuntd());
    dnat(false);
}

#[test]
fn ipv6_http_with_dnat() {
    require!(root(), tool("perl"), tool("curl"), file("/dev/net/tun"), shuntd());
    dnat(true);
}

/// A node port of the router in the client's network: the backend sees the router beside itself, and knows no way to its client.
#[test]
fn dnat_with_additional_snat() {
    require!(root(), tool("perl"), tool("curl"), file("/dev/net/tun"), shuntd());
    let ports = "ports = [{ name = \"t\", port = 80, node_port = 30080 }, { name = \"u\", protocol = \"udp\", port = 80, node_port = 30080 }]\n";
    let node = forwarding(&format!("{ADDRESSES}{ports}"));
    let (client, backend, other) = three(&node);
    for family in ["-4", "-6"] {
        backend.netns.exec(&["ip", family, "route", "del", "default"]).unwrap();
    }
    let _running = serve(backend, 8080);
    for (at, hidden, v6) in [(gateway_v4(1), gateway_v4(2), false), (gateway_v6(1), gateway_v6(2), true)] {
        let seen = Answer { name: backend.port.clone(), peer: hidden.clone() };
        for from in [client, other] {
            assert_eq!(http_at_last(&node, from, &at, 30080), seen);
            assert_eq!(datagram(from, &at, 30080), Ok(seen.clone()), "{:?}", node.drops());
            for protocol in ["tcp", "udp"] {
                let listed = node.cli(&format!("conntrack -L -p {protocol} -s {}", own(from, v6)));
                let there = format!("src={} dst={at} sport=", own(from, v6));
                let back = format!("src={} dst={hidden} sport=8080 ", own(backend, v6));
                assert!(listed.contains(&there) && listed.contains(&back), "{listed}");
            }
        }
    }
}

/// An error: who it seems to come from, who it is for, and both ends of the packet that it is about.
struct Complaint {
    by: IpAddr,
    to: IpAddr,
    source: (IpAddr, u16),
    destination: (IpAddr, u16),
}

/// What a frame says in which a port is called unreachable; `None` for frames of others.
fn complaint(frame: &[u8], v6: bool) -> Option<Complaint> {
    let (length, protocol) = if v6 { (40, 6) } else { (20, 9) };
    let (outer, inner) = (14, 14 + length + 8);
    let address = |at: usize| -> Option<IpAddr> {
        Some(match v6 {
            true => <[u8; 16]>::try_from(frame.get(at..at + 16)?).ok()?.into(),
            false => <[u8; 4]>::try_from(frame.get(at..at + 4)?).ok()?.into(),
        })
    };
    let ends = |header: usize| {
        let source = header + if v6 { 8 } else { 12 };
        Some((address(source)?, address(source + if v6 { 16 } else { 4 })?))
    };
    let port = |at: usize| Some(u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]));
    let ethertype = frame.get(12..14)?;
    let wanted: (&[u8], u8, &[u8]) = if v6 { (&[0x86, 0xdd], 58, &[1, 4]) } else { (&[8, 0], 1, &[3, 3]) };
    let kind = frame.get(outer + length..outer + length + 2)?;
    if (ethertype, *frame.get(outer + protocol)?, kind) != wanted {
        return None;
    }
    let ((by, to), (source, destination)) = (ends(outer)?, ends(inner)?);
    let (source, destination) = ((source, port(inner + length)?), (destination, port(inner + length + 2)?));
    Some(Complaint { by, to, source, destination })
}

/// Nobody listens at the backend's port: what its kernel says of that reaches the socket that has asked at a front, and speaks of that
/// front only. (A connected socket hears of no other.)
#[track_caller]
fn related(v6: bool) {
    let node = forwarding(ADDRESSES);
    let (client, backend, other) = three(&node);
    for from in [client, other] {
        until_answered(&node, from, own(backend, v6));
        let sniffer = Sniffer::on(from);
        for (at, port) in fronts(v6) {
            let heard = Talk::open(from, "udp", &at, port).say("anyone?");
            assert_eq!(heard, "failed: Connection refused", "{at}: {:?}", node.drops());
            let (front, asker): (IpAddr, IpAddr) = (at.parse().unwrap(), own(from, v6).parse().unwrap());
            let about = |frame: &[u8]| complaint(frame, v6).filter(|it| it.destination == (front, port));
            let said = about(&sniffer.wait(|frame| about(frame).is_some())).unwrap();
            let (source, source_port) = said.source;
            assert_eq!((said.by, said.to, source), (front, asker, asker), "nobody knows of the backend");
            let listed = node.cli(&format!("conntrack -L -p udp -d {at}"));
            assert!(listed.contains(&format!("sport={source_port} dport={port} ")), "{listed}");
            // The error is of the connection, and answers nothing.
            assert!(listed.contains("[UNREPLIED]"), "{listed}");
        }
        assert_eq!(dropped(&node, &backend.port, "untracked"), 0);
    }
}

#[test]
fn icmp_related_with_dnat() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    related(false);
}

#[test]
fn ipv6_icmp6_related_with_dnat() {
    require!(root(), tool("perl"), file("/dev/net/tun"), shuntd());
    related(true);
}
