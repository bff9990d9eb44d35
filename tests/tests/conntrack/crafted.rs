//! Frames made by hand, and the node that they are sent to: fragments in any order, overlapping, without an end, inside of tunnels
//! and with tags.

use std::time::{Duration, Instant};

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use shunt_tests::frames::cut::{cut, join, piece};
use shunt_tests::frames::{Body, Frame, Ipv4, Ipv6, Payload, Piece, Transport};
use shunt_tests::scene::build::PATIENCE;
use shunt_tests::{Netns, Shuntd, Wire, require};

use crate::wires;

pub(crate) const CONFIG: &str = include_str!("crafted.toml");
/// The pod, a pod behind the peer, and who they talk to: MAC address, last bytes of the addresses.
pub(crate) const POD: Who =
    Who { mac: [2, 0, 0, 0x60, 0, 1], gateway: [2, 0, 0, 0, 0x60, 0xfe], subnet: 60, last: 1 };
pub(crate) const FAR: Who =
    Who { mac: [2, 0, 0, 0x50, 0, 2], gateway: [2, 0, 0, 0, 0x50, 0xfe], subnet: 50, last: 2 };
pub(crate) const WORLD: Who =
    Who { mac: [2, 0, 0, 0x61, 0, 1], gateway: [2, 0, 0, 0, 0x61, 0xfe], subnet: 61, last: 1 };
/// Behind the trunk.
pub(crate) const TAGGED: Who =
    Who { mac: [2, 0, 0, 0x62, 0, 1], gateway: [2, 0, 0, 0, 0x62, 0xfe], subnet: 62, last: 1 };
const VLAN: u16 = 62;
/// What masquerades them.
pub(crate) const ROUTER: Who = Who { mac: [0; 6], gateway: [0; 6], subnet: 61, last: 254 };

#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) mac: [u8; 6],
    pub(crate) gateway: [u8; 6],
    pub(crate) subnet: u8,
    pub(crate) last: u8,
}

impl Who {
    fn v4(self) -> [u8; 4] {
        [10, self.subnet, 0, self.last]
    }

    fn v6(self) -> [u8; 16] {
        // As it is written: fd00:61::fe for 61 and 254.
        let (high, low) = (((self.subnet / 10) << 4) | (self.subnet % 10), self.last);
        [0xfd, 0, 0, high, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, low]
    }
}

impl Who {
    /// A datagram of 3,000 bytes to `to`, as it leaves this station for its gateway.
    fn datagram(self, to: Who, ports: (u16, u16), v6: bool) -> Vec<u8> {
        let transport = Transport::Udp(ports.0, ports.1, true);
        self.frame(to, Payload { transport, data: (0..=255).cycle().take(3000).collect() }, v6)
    }

    pub(crate) fn frame(self, to: Who, payload: Payload, v6: bool) -> Vec<u8> {
        let body = if v6 {
            let (source, destination) = (self.v6(), to.v6());
            Body::Ipv6(Ipv6 { source, destination, class: 0, hop_limit: 64, extensions: vec![] }, payload)
        } else {
            let (source, destination, piece) = (self.v4(), to.v4(), Piece::default());
            let ip = Ipv4 { source, destination, class: 0, ttl: 64, id: 0, whole: false, piece, options: 0 };
            Body::Ipv4(ip, payload)
        };
        Frame { dst: self.gateway, src: self.mac, body, ..Frame::plain() }.bytes()
    }
}

/// The node, and a wire to each of its ports.
pub(crate) struct Node {
    // Before the namespaces.
    pub(crate) shuntd: Shuntd,
    pub(crate) uplink: Wire,
    pub(crate) pod: Wire,
    pub(crate) world: Wire,
    pub(crate) trunk: Wire,
    _places: Vec<Netns>,
}

impl Node {
    #[track_caller]
    pub(crate) fn start() -> Self {
        Self::with(CONFIG)
    }

    #[track_caller]
    pub(crate) fn with(config: &str) -> Self {
        let names = ["uplink", "pod", "world", "trunk"];
        let (_places, shuntd, [uplink, pod, world, trunk]) = wires::start(config, names);
        Self { shuntd, uplink, pod, world, trunk, _places }
    }

    #[track_caller]
    pub(crate) fn waits_for_drops(&self, port: &str, reason: &str, wanted: u64) {
        wires::waits_for_drops(&self.shuntd, port, reason, wanted);
    }
}

/// The fragments that came by a wire and are of one datagram, when they are all there: the datagram.
#[track_caller]
fn gathered(wire: &Wire, v6: bool, is: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let ethertype = if v6 { [0x86, 0xdd] } else { [8, 0] };
    joined(|| wire.seen().into_iter().filter(|frame| frame[12..14] == ethertype && is(frame)).collect())
}

/// Waits until `pieces` are all that there are of a datagram.
#[track_caller]
fn joined(pieces: impl Fn() -> Vec<Vec<u8>>) -> Vec<u8> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let pieces = pieces();
        if !pieces.is_empty()
            && let Some(whole) = join(&pieces)
        {
            return whole;
        }
        assert!(Instant::now() < deadline, "not all fragments came: {pieces:02x?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Source, destination and ports of a datagram whose checksum is right.
#[track_caller]
fn sound(frame: &[u8]) -> (Vec<u8>, Vec<u8>, (u16, u16)) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(TransportSlice::Udp(udp)) = &packet.transport else { panic!("not UDP: {frame:02x?}") };
    let (header, payload) = (udp.to_header(), udp.payload());
    let ports = (udp.source_port(), udp.destination_port());
    match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            let ip = ip.header();
            let sum = header.calc_checksum_ipv4_raw(ip.source(), ip.destination(), payload).unwrap();
            assert_eq!(udp.checksum(), sum);
            (ip.source().to_vec(), ip.destination().to_vec(), ports)
        }
        Some(NetSlice::Ipv6(ip)) => {
            let ip = ip.header();
            let sum = header.calc_checksum_ipv6_raw(ip.source(), ip.destination(), payload).unwrap();
            assert_eq!(udp.checksum(), sum);
            (ip.source().to_vec(), ip.destination().to_vec(), ports)
        }
        _ => panic!("no IP packet"),
    }
}

/// The identification of a fragment.
fn id(frame: &[u8]) -> u32 {
    if frame[12..14] == [8, 0] {
        u32::from(u16::from_be_bytes([frame[18], frame[19]]))
    } else {
        u32::from_be_bytes([frame[58], frame[59], frame[60], frame[61]])
    }
}

pub(crate) fn address(who: Who, v6: bool) -> Vec<u8> {
    if v6 { who.v6().to_vec() } else { who.v4().to_vec() }
}

/// Sends the pod's datagram in pieces, in that order, and the answer in the same order: both arrive translated.
#[track_caller]
fn there_and_back(node: &mut Node, v6: bool, first_id: u32, order: &[usize]) {
    let port = 5000 + first_id as u16;
    let pieces = cut(&POD.datagram(WORLD, (port, 53), v6), 1024, first_id);
    for number in order {
        node.pod.send(&pieces[*number]).unwrap();
    }
    let (source, destination, ports) = sound(&gathered(&node.world, v6, |frame| id(frame) == first_id));
    assert_eq!((source, destination, ports), (address(ROUTER, v6), address(WORLD, v6), (port, 53)));
    let answer = cut(&WORLD.datagram(ROUTER, (53, port), v6), 1024, first_id);
    for number in order {
        node.world.send(&answer[*number]).unwrap();
    }
    let (source, destination, ports) = sound(&gathered(&node.pod, v6, |frame| id(frame) == first_id));
    assert_eq!((source, destination, ports), (address(WORLD, v6), address(POD, v6), (53, port)));
}

#[test]
fn ipv4_fragmentation_out_of_order() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (order, id) in orders.iter().zip(1..) {
        there_and_back(&mut node, false, id, order);
    }
}

#[test]
fn ipv6_fragmentation_out_of_order() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (order, id) in orders.iter().zip(1..) {
        there_and_back(&mut node, true, id, order);
    }
}

#[test]
fn overlapping_fragments() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    for v6 in [false, true] {
        let frame = POD.datagram(WORLD, (5000, 53), v6);
        let pieces = cut(&frame, 1024, 1);
        // The first one passes; what overlaps it does not, and nothing after that.
        node.pod.send(&pieces[0]).unwrap();
        node.pod.send(&piece(&frame, &[7; 64], 1000, true, 1)).unwrap();
        node.pod.send(&pieces[1]).unwrap();
        node.pod.send(&pieces[2]).unwrap();
        node.waits_for_drops("pod", "fragment_overlap", if v6 { 6 } else { 3 });
        // A second copy of a fragment does no harm to the datagram.
        let pieces = cut(&POD.datagram(WORLD, (5000, 53), v6), 1024, 2);
        for number in [0, 1, 1, 0, 2] {
            node.pod.send(&pieces[number]).unwrap();
        }
        sound(&gathered(&node.world, v6, |frame| id(frame) == 2));
        node.waits_for_drops("pod", "fragment_duplicate", if v6 { 4 } else { 2 });
        let seen = node.world.seen();
        let family = if v6 { 0x86 } else { 8 };
        assert_eq!(seen.iter().filter(|frame| frame[12] == family && id(frame) == 1).count(), 1);
    }
}

#[test]
fn ipv4_fragmentation_expiry() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    for v6 in [false, true] {
        // A first one that never comes.
        for later in &cut(&POD.datagram(WORLD, (5000, 53), v6), 1024, 9)[1..] {
            node.pod.send(later).unwrap();
        }
        node.waits_for_drops("pod", "fragment_no_first", if v6 { 4 } else { 2 });
        let held = node.shuntd.cli(&["show", "workers", "--json"]).unwrap();
        assert_eq!(held[0]["held"], 0, "{held}");
    }
    assert!(node.world.seen().iter().all(|frame| id(frame) != 9));
}

#[test]
fn fragments_that_lack_a_transport_header() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    for (v6, wanted) in [(false, 1), (true, 2)] {
        let payload = Payload { transport: Transport::Tcp(5000, 80, 2, 0), data: vec![0; 100] };
        let tcp = POD.frame(WORLD, payload, v6);
        // RFC 1858: eight bytes of a TCP header, its flags in the next fragment.
        for tiny in cut(&tcp, 8, 3).iter().take(1) {
            node.pod.send(tiny).unwrap();
        }
        node.waits_for_drops("pod", "fragment_tiny", wanted);
        let unfit = piece(&tcp, &[0; 1001], 1024, true, 4);
        node.pod.send(&unfit).unwrap();
        node.waits_for_drops("pod", "fragment_unfit", wanted);
    }
    // An IPv4 packet, or an IPv6 one that is a fragment.
    let came = |frame: &[u8]| frame[12] == 8 || (frame[12] == 0x86 && frame[20] == 44);
    assert!(!node.world.seen().iter().any(|frame| came(frame)));
}

/// RFC 7348 section 5, in a UDP datagram of the peer, for our tunnel's end.
pub(crate) fn vxlan(inner: &[u8]) -> Vec<u8> {
    let header = [8, 0, 0, 0, 0, 0, 2, 0];
    let ip = Ipv4 {
        source: [192, 0, 2, 2],
        destination: [192, 0, 2, 1],
        class: 0,
        ttl: 64,
        id: 7,
        whole: true,
        piece: Piece::default(),
        options: 0,
    };
    let transport = Transport::Udp(50_000, 4789, false);
    let body = Body::Ipv4(ip, Payload { transport, data: [&header, inner].concat() });
    Frame { dst: [2, 0, 0xc0, 0, 2, 1], src: [2, 0, 0xc0, 0, 2, 2], body, ..Frame::plain() }.bytes()
}

#[test]
fn fragmentation_over_vxlan() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    let mut node = Node::start();
    for v6 in [false, true] {
        for (order, number) in [[0, 1, 2], [2, 1, 0]].iter().zip(1..) {
            let port = 6000 + number as u16;
            let pieces = cut(&FAR.datagram(WORLD, (port, 53), v6), 1024, number);
            for at in order {
                node.uplink.send(&vxlan(&pieces[*at])).unwrap();
            }
            let (source, destination, ports) = sound(&gathered(&node.world, v6, |frame| id(frame) == number));
            assert_eq!((source, destination, ports), (address(ROUTER, v6), address(WORLD, v6), (port, 53)));
            let answer = cut(&WORLD.datagram(ROUTER, (53, port), v6), 1024, number + 100);
            for at in order {
                node.world.send(&answer[*at]).unwrap();
            }
            // Behind the outer Ethernet, IPv4, UDP and VXLAN headers.
            const INNER: usize = 14 + 20 + 8 + 8;
            let pieces = || {
                let tunnel =
                    |frame: &Vec<u8>| frame.len() > INNER + 62 && frame[36..38] == 4789_u16.to_be_bytes();
                let all = node.uplink.seen().into_iter().filter(tunnel);
                let inner = all.map(|frame| frame[INNER..].to_vec());
                let family = if v6 { 0x86 } else { 8 };
                inner.filter(|frame| frame[12] == family && id(frame) == number + 100).collect()
            };
            let whole = joined(pieces);
            let (source, destination, ports) = sound(&whole);
            assert_eq!((source, destination, ports), (address(WORLD, v6), address(FAR, v6), (53, port)));
        }
    }
}

/// The frame with a VLAN tag, and priority 5 in it.
pub(crate) fn tagged(frame: &[u8]) -> Vec<u8> {
    let tci = (5 << 13 | VLAN).to_be_bytes();
    [&frame[..12], &[0x81, 0], &tci, &frame[12..]].concat()
}

/// The frame without its tag, when it has that of the VLAN.
pub(crate) fn untagged(frame: &[u8]) -> Option<Vec<u8>> {
    let is_ours = frame.get(12..14)? == [0x81, 0] && frame[14] & 0x0f == 0 && u16::from(frame[15]) == VLAN;
    is_ours.then(|| [&frame[..12], &frame[16..]].concat())
}

/// An ARP request of a station for its gateway's address (RFC 826).
pub(crate) fn asks_for_gateway(who: Who) -> Vec<u8> {
    let gateway = Who { last: 254, ..who }.v4();
    let message = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &who.mac, &who.v4(), &[0; 6], &gateway, &[0; 18]];
    [&[0xff; 6][..], &who.mac, &[8, 6], &message.concat()].concat()
}

/// A neighbour solicitation for it (RFC 4861 section 4.3), with the option that says who asks.
pub(crate) fn solicits_gateway(who: Who) -> Vec<u8> {
    let gateway = Who { last: 254, ..who }.v6();
    let mut group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 0];
    group[13..].copy_from_slice(&gateway[13..]);
    let ip = Ipv6 { source: who.v6(), destination: group, class: 0, hop_limit: 255, extensions: vec![] };
    let data = [&gateway[..], &[1, 1], &who.mac].concat();
    let body = Body::Ipv6(ip, Payload { transport: Transport::Icmp(135, 0, 0), data });
    let dst = [0x33, 0x33, 0xff, group[13], group[14], group[15]];
    Frame { dst, src: who.mac, body, ..Frame::plain() }.bytes()
}

/// Datagrams of a station behind the trunk in pieces with tags, and the answers.
#[track_caller]
fn fragmentation_and_vlan(v6: bool) {
    let mut node = Node::start();
    // Who it is, so that answers find it. An advertisement is ICMPv6's message 136.
    node.trunk.send(&tagged(&if v6 { solicits_gateway(TAGGED) } else { asks_for_gateway(TAGGED) })).unwrap();
    let answers = |frame: &[u8]| match v6 {
        true => frame[12] == 0x86 && frame[20] == 58 && frame[54] == 136,
        false => frame[12..14] == [8, 6],
    };
    node.trunk.wait(PATIENCE, |frame| untagged(frame).is_some_and(|frame| answers(&frame))).unwrap();
    let is_fragment =
        |frame: &[u8]| if v6 { frame[12] == 0x86 && frame[20] == 44 } else { frame[12..14] == [8, 0] };
    for (order, number) in [[0, 1, 2], [2, 1, 0]].iter().zip(1..) {
        let port = 7000 + number as u16;
        let pieces = cut(&TAGGED.datagram(WORLD, (port, 53), v6), 1024, number);
        for at in order {
            node.trunk.send(&tagged(&pieces[*at])).unwrap();
        }
        let there = sound(&gathered(&node.world, v6, |frame| is_fragment(frame) && id(frame) == number));
        assert_eq!(there, (address(ROUTER, v6), address(WORLD, v6), (port, 53)));
        let answer = cut(&WORLD.datagram(ROUTER, (53, port), v6), 1024, number + 100);
        for at in order {
            node.world.send(&answer[*at]).unwrap();
        }
        let pieces = || {
            let ours = node.trunk.seen().into_iter().filter_map(|frame| untagged(&frame));
            ours.filter(|frame| is_fragment(frame) && id(frame) == number + 100).collect()
        };
        assert_eq!(sound(&joined(pieces)), (address(WORLD, v6), address(TAGGED, v6), (53, port)));
    }
}

#[test]
fn ipv4_fragmentation_and_vlan() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    fragmentation_and_vlan(false);
}

#[test]
fn ipv6_fragmentation_and_vlan() {
    require!(root(), tool("perl"), tool("tcpdump"), shuntd());
    fragmentation_and_vlan(true);
}
