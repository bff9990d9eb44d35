//! What must not pass: every case is a frame on the wire, a reason, and the counter of that reason going up on the right port.
//!
//! One node with an uplink in the transport network, a trunk, and pods in overlays of each kind; hand-made frames come in by all of
//! them. A frame that is sound, sent in between, proves that the reasons are not simply given to everything.

#[path = "refusals/frames.rs"]
mod made;

use std::time::Duration;

use made::{
    BROADCAST, FAR, GATEWAY, Inner, NEAR, OTHER, POD, arp, datagram, ethernet, geneve, neighbor, own_v6, udp,
    v6, vxlan, within,
};
use shunt_tests::frames::{Extension, Piece, Transport};
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Interface, Netns, Shuntd, Veth, Wire, require};

const CONFIG: &str = include_str!("refusals/node.toml");

/// The node, and a wire to each of its ports by the port's name.
struct Node {
    // Before the namespaces.
    shuntd: Shuntd,
    wires: Vec<(&'static str, Wire)>,
    _places: Vec<Netns>,
}

/// A port, a frame that comes in by it, and why it is dropped.
struct Case {
    about: &'static str,
    port: &'static str,
    frame: Vec<u8>,
    reason: &'static str,
}

impl Node {
    #[track_caller]
    fn start() -> Self {
        let node = Netns::new().unwrap();
        let mut wires = Vec::new();
        let mut places = Vec::new();
        for port in ["uplink", "trunk", "pod", "routed", "loop"] {
            let place = Netns::new().unwrap();
            // Nothing but the frames of the test.
            place.exec(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]).unwrap();
            // It ends with the namespaces.
            std::mem::forget(Veth::pair(port, Some(&node), &place, &Interface::default()).unwrap());
            wires.push((port, Wire::on(&place, "eth0").unwrap()));
            places.push(place);
        }
        let shuntd = Shuntd::start_in(&node, CONFIG).unwrap();
        places.push(node);
        let up = |ports: &serde_json::Value| {
            ports.as_array().into_iter().flatten().all(|row| row["oper_up"] == true && row["link"] == true)
        };
        shuntd.cli_until(&["show", "ports", "--json"], PATIENCE, up).unwrap();
        Self { shuntd, wires, _places: places }
    }

    fn wire(&mut self, port: &str) -> &mut Wire {
        let mut found = self.wires.iter_mut().filter(|(name, _)| *name == port);
        found.next().map(|(_, wire)| wire).expect("there is a wire to each port")
    }

    #[track_caller]
    fn dropped(&self, port: &str, reason: &str) -> u64 {
        count(&self.shuntd.cli(&["show", "drops", "--json"]).unwrap(), port, reason)
    }

    /// Sends the frame; says what is wrong when the counter does not go up by one.
    #[track_caller]
    fn refuses(&mut self, case: &Case) -> Result<(), String> {
        let before = self.dropped(case.port, case.reason);
        self.wire(case.port).send(&case.frame).unwrap();
        let counted = |drops: &serde_json::Value| count(drops, case.port, case.reason) > before;
        let waited = self.shuntd.cli_until(&["show", "drops", "--json"], Duration::from_secs(2), counted);
        match waited {
            Ok(_) => Ok(()),
            Err(error) => {
                Err(format!("{}: no drop for {} on {}: {error}", case.about, case.reason, case.port))
            }
        }
    }

    #[track_caller]
    fn refuses_all(&mut self, cases: &[Case]) {
        let failed: Vec<String> = cases.iter().filter_map(|case| self.refuses(case).err()).collect();
        assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), cases.len(), failed.join("\n"));
    }

    /// A frame that comes in by one port goes out by another, as `is` knows it.
    #[track_caller]
    fn passes(&mut self, from: &str, frame: &[u8], to: &str, is: impl Fn(&[u8]) -> bool) {
        self.wire(from).send(frame).unwrap();
        let arrived = self.wire(to).wait(PATIENCE, is);
        arrived
            .unwrap_or_else(|error| panic!("{error}\n{}", self.shuntd.cli_text(&["show", "drops"]).unwrap()));
    }
}

fn count(drops: &serde_json::Value, port: &str, reason: &str) -> u64 {
    let rows = drops.as_array().into_iter().flatten();
    rows.filter(|row| row["port"] == port && row["reason"] == reason)
        .filter_map(|row| row["count"].as_u64())
        .sum()
}

/// A packet of the far pod for the near one.
fn inner() -> Vec<u8> {
    ethernet(POD.mac, FAR.mac, &udp(FAR.ip, POD.ip, 64, b"hello"))
}

#[test]
fn tunnel_packets() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let good = |inner: &Inner<'_>| within(NEAR.outer, FAR.outer, 4789, &vxlan(2, inner));
    let hello = inner();
    let sound = good(&Inner(&hello));
    let is_hello = |got: &[u8]| got == &hello[..];
    node.passes("uplink", &sound, "pod", is_hello);

    let case = |about, frame, reason| Case { about, port: "uplink", frame, reason };
    let from = |source| within(NEAR.outer, source, 4789, &vxlan(2, &Inner(&hello)));
    let stranger = ethernet(POD.mac, OTHER.mac, &udp(OTHER.ip, POD.ip, 64, b"hello"));
    let mut flags = vxlan(2, &Inner(&hello));
    flags[0] = 0;
    let options =
        |critical, length| within(NEAR.outer, FAR.outer, 6081, &geneve(3, critical, length, &Inner(&hello)));
    node.refuses_all(&[
        case("VNI 99", within(NEAR.outer, FAR.outer, 4789, &vxlan(99, &Inner(&hello))), "tunnel_unknown_vni"),
        case("a stranger", from([192, 0, 2, 77]), "tunnel_unknown_peer"),
        case("another peer's station", good(&Inner(&stranger)), "tunnel_inner_source"),
        case("no I flag", within(NEAR.outer, FAR.outer, 4789, &flags), "tunnel_bad_header"),
        case("half a VXLAN header", within(NEAR.outer, FAR.outer, 4789, &flags[..5]), "tunnel_bad_header"),
        case("half an Ethernet header", good(&Inner(&hello[..9])), "tunnel_bad_header"),
        case("a UDP length that lies", made::longer(sound.clone()), "tunnel_bad_header"),
        case("a UDP checksum that lies", made::checked(sound.clone(), 0x1234), "tunnel_bad_checksum"),
        case("a fragment", made::fragment(sound.clone()), "tunnel_fragment"),
        case("congestion and no ECT", made::congested(sound.clone()), "tunnel_ecn"),
        case("a critical option", options(true, 1), "tunnel_critical_option"),
        case("an option longer than the packet", options(false, 60), "tunnel_bad_header"),
    ]);
    // Inside, what a router refuses.
    let dying = ethernet(GATEWAY.mac, FAR.mac, &udp(FAR.ip, [10, 70, 0, 5], 1, b"hello"));
    node.refuses_all(&[case("a TTL of 1 inside", good(&Inner(&dying)), "ttl_exceeded")]);
    // From a tunnel into a tunnel of the same network: never.
    let many = ethernet(BROADCAST, FAR.mac, &arp(FAR, [10, 50, 0, 200]));
    node.passes("uplink", &good(&Inner(&many)), "pod", |got| got == &many[..]);
    let third = ethernet(OTHER.mac, FAR.mac, &udp(FAR.ip, OTHER.ip, 64, b"hello"));
    node.refuses_all(&[case("from one peer to another", good(&Inner(&third)), "split_horizon")]);
    node.passes("uplink", &sound, "pod", is_hello);
}

#[test]
fn frames_of_pods_and_trunks() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let hello = ethernet(FAR.mac, POD.mac, &udp(POD.ip, FAR.ip, 64, b"hello"));
    let case = |about, port, frame, reason| Case { about, port, frame, reason };
    let tagged = |vid: u16| {
        let tag = [&[0x81, 0][..], &vid.to_be_bytes()].concat();
        [&hello[..12], &tag, &hello[12..]].concat()
    };
    let stranger = [10, 50, 0, 99];
    let mut thief = POD;
    thief.ip = OTHER.ip;
    node.refuses_all(&[
        case("VLAN 1156 on a trunk of 1155", "trunk", tagged(1156), "vlan_mismatch"),
        case("no tag on a trunk without a native VLAN", "trunk", hello.clone(), "vlan_mismatch"),
        case("a priority and no VLAN on that trunk", "trunk", tagged(0xe000), "vlan_mismatch"),
        case(
            "another's MAC address",
            "pod",
            ethernet(FAR.mac, OTHER.mac, &udp(POD.ip, FAR.ip, 64, b"hello")),
            "spoofed_mac",
        ),
        case(
            "another's IP address",
            "pod",
            ethernet(FAR.mac, POD.mac, &udp(stranger, FAR.ip, 64, b"hello")),
            "spoofed_ip",
        ),
        case("ARP for another", "pod", ethernet(BROADCAST, POD.mac, &arp(thief, FAR.ip)), "spoofed_arp"),
        case(
            "a TTL of 1",
            "routed",
            ethernet(GATEWAY.mac, [2, 0, 0, 0x70, 0, 2], &udp([10, 70, 0, 2], POD.ip, 1, b"hello")),
            "ttl_exceeded",
        ),
        case(
            "an address of the overlay that nobody has",
            "routed",
            ethernet(GATEWAY.mac, [2, 0, 0, 0x70, 0, 2], &udp([10, 70, 0, 2], [10, 51, 0, 9], 64, b"hello")),
            "overlay_unreachable",
        ),
        case(
            "a tunnel that leads into a tunnel",
            "loop",
            ethernet(
                BROADCAST,
                [2, 0, 0, 0x80, 0, 2],
                &arp(
                    made::Who { mac: [2, 0, 0, 0x80, 0, 2], ip: [10, 80, 0, 2], outer: [0; 4] },
                    [10, 80, 0, 3],
                ),
            ),
            "tunnel_loop",
        ),
    ]);
    // Switched into a tunnel that has no room for it: the uplink does not take it, and nobody had it who could tell its sender.
    let longest = ethernet(FAR.mac, POD.mac, &udp(POD.ip, FAR.ip, 64, &[7; 1500 - 28]));
    node.wire("pod").send(&longest).unwrap();
    let counted = |drops: &serde_json::Value| count(drops, "uplink", "too_long") == 1;
    node.shuntd.cli_until(&["show", "drops", "--json"], PATIENCE, counted).unwrap();
    node.passes("pod", &hello, "uplink", |got| got.ends_with(&hello));
    let told = |frame: &Vec<u8>| frame[..6] == POD.mac && frame.get(23) == Some(&1);
    assert!(!node.wire("pod").seen().iter().any(told), "a bridge tells nobody");
}

/// What is said for others in neighbour discovery, by what a kernel would believe of it; and who is a sender of IPv6.
#[test]
fn ipv6_of_pods_is_their_own() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let (own, far, other) = (own_v6(1), own_v6(2), own_v6(3));
    let transport = Transport::Udp(1, 2, true);
    let hello = |from: [u8; 16]| ethernet(FAR.mac, POD.mac, &v6(from, far, transport, b"hello"));
    let say = |kind, from, target, macs: &[[u8; 6]], extensions| {
        ethernet(FAR.mac, POD.mac, &neighbor(kind, from, far, target, macs, extensions))
    };
    // For an address that nobody has: who is known is answered for.
    let ask = |from, macs: &[[u8; 6]]| say(135, from, own_v6(99), macs, vec![]);
    let tell = |target, macs: &[[u8; 6]]| say(136, own, target, macs, vec![]);
    // What is its own goes to the peer, so nothing below is dropped for anything but what it says.
    let is = |inner: Vec<u8>| move |got: &[u8]| got.ends_with(&inner);
    let sound = [
        hello(own),
        hello(LINK_LOCAL),
        ask(own, &[POD.mac]),
        tell(own, &[POD.mac]),
        tell(own, &[]),
        tell(own, &[POD.mac, POD.mac]),
    ];
    for frame in &sound {
        node.passes("pod", frame, "uplink", is(frame.clone()));
    }
    let case = |about, frame, reason| Case { about, port: "pod", frame, reason };
    let hidden = |extension| say(136, own, other, &[POD.mac], vec![extension]);
    let first = Extension::Fragment(Piece { offset: 0, more: true });
    node.refuses_all(&[
        case("another's IPv6 address", hello(other), "spoofed_ip"),
        case("nobody's IPv6 address", hello(own_v6(99)), "spoofed_ip"),
        case("a solicitation from another", ask(other, &[POD.mac]), "spoofed_ip"),
        case("a solicitation with another's MAC address", ask(own, &[OTHER.mac]), "spoofed_arp"),
        case("the same from a link-local address", ask(LINK_LOCAL, &[OTHER.mac]), "spoofed_arp"),
        case("an advertisement for another", tell(other, &[POD.mac]), "spoofed_arp"),
        case("the same without an address", tell(other, &[]), "spoofed_arp"),
        case("an advertisement with another's MAC address", tell(own, &[OTHER.mac]), "spoofed_arp"),
        case("another's first, its own last", tell(own, &[OTHER.mac, POD.mac]), "spoofed_arp"),
        case("its own first, another's last", tell(own, &[POD.mac, OTHER.mac]), "spoofed_arp"),
        case("for another, behind options", hidden(Extension::Destination(0)), "spoofed_arp"),
        case("for another, behind hop-by-hop options", hidden(Extension::HopByHop(0)), "spoofed_arp"),
        case("for another, in a first fragment", hidden(first), "spoofed_arp"),
    ]);
    node.passes("pod", &sound[0], "uplink", is(sound[0].clone()));
}

/// A station of that link: fe80::1.
const LINK_LOCAL: [u8; 16] = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// All nodes of a link: ff02::1.
const ALL_NODES: [u8; 16] = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// What only the infrastructure says, by the reason for which a pod may not say it.
fn control_frames(from: [u8; 6], ip: [u8; 4]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let to = |mac: [u8; 6], body: &[u8]| ethernet(mac, from, body);
    let group = |last: u8| [0x01, 0x80, 0xc2, 0, 0, last];
    let slow = [&[0x88, 0x09, 1, 1][..], &[0; 44]].concat();
    let lldp = [&[0x88, 0xcc, 2, 7, 4][..], &[0; 44]].concat();
    let bpdu = [&[0, 38, 0x42, 0x42, 3][..], &[0; 44]].concat();
    let udp = |source: u16, destination: u16| {
        to(FAR.mac, &datagram(ip, FAR.ip, 255, Transport::Udp(source, destination, true), &[0; 24]))
    };
    let from_nobody =
        |source: [u8; 4]| to(FAR.mac, &datagram(source, FAR.ip, 64, Transport::Udp(1, 2, true), b"hello"));
    let icmpv6 = |kind: u8| {
        to([0x33, 0x33, 0, 0, 0, 1], &v6(LINK_LOCAL, ALL_NODES, Transport::Icmp(kind, 0, 0), &[0; 8]))
    };
    let udpv6 = |source: u16, destination: u16| {
        let transport = Transport::Udp(source, destination, true);
        to([0x33, 0x33, 0, 0, 0, 1], &v6(LINK_LOCAL, ALL_NODES, transport, &[0; 24]))
    };
    let mut loopback = [0; 16];
    loopback[15] = 1;
    vec![
        ("LACP", to(group(2), &slow), "link_control"),
        ("a BPDU", to(group(0), &bpdu), "link_control"),
        ("LLDP", to(group(14), &lldp), "link_control"),
        ("LLDP to a station", to(FAR.mac, &lldp), "link_control"),
        ("BFD", udp(50_000, 3784), "pod_bfd"),
        ("BFD echo", udp(50_000, 3785), "pod_bfd"),
        ("multihop BFD", udp(50_000, 4784), "pod_bfd"),
        ("an offer of a DHCP server", udp(67, 68), "pod_dhcp_server"),
        ("the same from another port", udp(4000, 68), "pod_dhcp_server"),
        ("an answer of a DHCPv6 server", udpv6(547, 546), "pod_dhcp_server"),
        ("a router advertisement", icmpv6(134), "pod_router_advertisement"),
        ("an IPv6 redirect", icmpv6(137), "pod_redirect"),
        (
            "an IPv4 redirect",
            to(FAR.mac, &datagram(ip, FAR.ip, 64, Transport::Icmp(5, 1, 0), &[0; 28])),
            "pod_redirect",
        ),
        ("from 127.0.0.1", from_nobody([127, 0, 0, 1]), "martian"),
        ("from 0.1.2.3", from_nobody([0, 1, 2, 3]), "martian"),
        ("from a group", from_nobody([224, 0, 0, 1]), "martian"),
        ("from class E", from_nobody([250, 0, 0, 1]), "martian"),
        ("from the broadcast address", from_nobody([255; 4]), "martian"),
        (
            "to 127.0.0.1",
            to(FAR.mac, &datagram(ip, [127, 0, 0, 1], 64, Transport::Udp(1, 2, true), b"x")),
            "martian",
        ),
        ("from ::1", to(FAR.mac, &v6(loopback, ALL_NODES, Transport::Udp(1, 2, true), b"x")), "martian"),
    ]
}

#[test]
fn control_protocols_and_martians_from_pods() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let mut cases = Vec::new();
    for (about, frame, reason) in control_frames(POD.mac, POD.ip) {
        cases.push(Case { about, port: "pod", frame, reason });
    }
    node.refuses_all(&cases);
    // The uplink is trusted: none of this is a pod's there, and some of it reaches those who listen. Only what no bridge forwards is
    // dropped from everybody.
    let outside = [2, 0, 0xc0, 0, 2, 2];
    for (_, frame, _) in control_frames(outside, [192, 0, 2, 2]) {
        node.wire("uplink").send(&frame).unwrap();
    }
    let hello = inner();
    node.passes("uplink", &within(NEAR.outer, FAR.outer, 4789, &vxlan(2, &Inner(&hello))), "pod", |got| {
        got == &hello[..]
    });
    let reasons =
        ["link_control", "martian", "pod_bfd", "pod_dhcp_server", "pod_router_advertisement", "pod_redirect"];
    for reason in reasons {
        let expected = if reason == "link_control" { 3 } else { 0 };
        assert_eq!(node.dropped("uplink", reason), expected, "{reason}");
    }
}
