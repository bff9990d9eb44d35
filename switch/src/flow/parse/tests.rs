use super::bytes::Bytes;
use super::deep::long;
use super::*;
use crate::flow::key::{L3, L4};

/// Ethernet, IPv4, UDP by hand: offsets as the RFCs draw them.
const UDP_FRAME: [u8; 46] = [
    2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00, // Ethernet
    0x45, 0xb8, 0, 32, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
    0x04, 0x00, 0x00, 0x35, 0, 12, 0, 0, // UDP
    1, 2, 3, 4,
];

fn at(depth: Depth) -> (FlowKey, Layout) {
    parse(&UDP_FRAME, 46, PortId::new(3).unwrap(), depth).unwrap()
}

#[test]
fn every_field_of_a_plain_packet() {
    let (key, layout) = at(Depth::Transport);
    assert_eq!(layout, Layout { l3: 14, l4: 34 });
    assert_eq!(key.port(), 3);
    assert_eq!(key.dst().bytes(), [2, 0, 0, 0, 0, 2]);
    assert_eq!(key.src().bytes(), [2, 0, 0, 0, 0, 1]);
    assert_eq!((key.ethertype(), key.vlan()), (0x0800, (0, 0)));
    assert_eq!(key.addresses(), Some(("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())));
    assert_eq!((key.protocol(), key.traffic_class(), key.ports()), (17, 0xb8, (1024, 53)));
    let marks = Marks { depth: Depth::Transport, l3: L3::Ipv4, l4: L4::Known, ..Marks::default() };
    assert_eq!(key.marks(), marks);
}

#[test]
fn a_shallow_key_has_zeros_behind_its_depth() {
    let (key, layout) = at(Depth::Network);
    assert_eq!((key.ports(), key.traffic_class(), key.marks().l4), ((0, 0), 0, L4::Other));
    assert_eq!((key.protocol(), layout), (17, Layout { l3: 14, l4: 34 }));
    let (key, layout) = at(Depth::Ethernet);
    assert_eq!(key.words()[2..], [0; 6]);
    assert_eq!(layout, Layout::default());
}

/// The straight way and the long one are two programs for one question.
#[test]
fn the_plain_way_and_the_long_way_agree() {
    let mut tcp = [0; 54];
    tcp[..42].copy_from_slice(&UDP_FRAME[..42]);
    tcp[17] = 40;
    tcp[23] = 6;
    tcp[46] = 0x50;
    for flags in 0..=255 {
        tcp[47] = flags;
        both_ways(&tcp);
        both_ways(&as_ipv6(&tcp));
    }
    for ttl in 0..=255 {
        let mut udp = UDP_FRAME;
        udp[22] = ttl;
        both_ways(&udp);
        both_ways(&as_ipv6(&udp));
    }
}

/// The same transport header, hop limit, protocol and class behind an IPv6 header.
fn as_ipv6(frame: &[u8]) -> Vec<u8> {
    let (head, transport) = frame.split_at(34);
    let mut out = head[..12].to_vec();
    out.extend([
        0x86,
        0xdd,
        0x60 | head[15] >> 4,
        head[15] << 4,
        0,
        0,
        0,
        transport.len() as u8,
        head[23],
        head[22],
    ]);
    out.extend((0..32).chain(transport.iter().copied()));
    out
}

fn both_ways(frame: &[u8]) {
    let (len, port) = (frame.len() as u32, PortId::new(3).unwrap());
    let header = ethernet::parse(frame).unwrap();
    let link = FlowKey::ethernet(port, header.dst, header.src, header.ethertype);
    for depth in [Depth::Network, Depth::Transport] {
        let marks = Marks { depth, ..Marks::default() };
        let rest = Rest::behind(frame, len, ethernet::HEADER).unwrap();
        let (mut straight, mut slow) = (FlowKey::default(), link);
        let taken = match header.ethertype {
            ethernet::IPV4 => plain::ipv4(rest, link, marks, &mut straight),
            _ => plain::ipv6(rest, link, marks, &mut straight),
        };
        let layout = long(Bytes::new(frame, len), header.ethertype, ethernet::HEADER, marks, &mut slow);
        assert_eq!(taken, layout.ok(), "this frame is a plain one");
        assert_eq!(straight, slow);
        assert_eq!(parse(frame, len, port, depth), Ok((slow, taken.unwrap())));
    }
}

#[test]
fn a_layout_is_one_word() {
    assert_eq!(size_of::<Layout>(), 4);
}
