//! What must hold of `flow::parse` for any bytes whatever. The fuzz target runs it, and so do the property tests.

use shunt_switch::flow::key::{Depth, FlowKey, Fragment, L3, L4, Marks};
use shunt_switch::flow::parse::{Layout, Unparsed, parse};
use shunt_switch::ids::PortId;

/// How a case is written in bytes: a control word, then the frame.
///
/// | byte | is |
/// |---|---|
/// | 0, 1 | length of the first segment, little-endian, modulo the frame's length and one more |
/// | 2 | KiB that the frame goes on behind the bytes given |
/// | 3 | ingress port |
pub(crate) const CONTROL: usize = 4;

/// Panics when a property does not hold. Inputs without a control word say nothing.
pub(crate) fn check(input: &[u8]) {
    let Some((&[low, high, more, port], frame)) = input.split_first_chunk::<CONTROL>() else { return };
    let split = usize::from(u16::from_le_bytes([low, high])) % (frame.len() + 1);
    let len = frame.len() as u32 + u32::from(more) * 1024;
    let port = PortId::new(usize::from(port)).expect("there are more than 256 ports");
    check_depths(frame, len, port);
    check_depths(&frame[..split], len, port);
    check_split(frame, len, port, split);
}

type Parsed = Result<(FlowKey, Layout), Unparsed>;

/// A frame parsed less deep gives what is left of the deeper key.
pub(crate) fn check_depths(data: &[u8], len: u32, port: PortId) {
    let at = |depth| parse(data, len, port, depth);
    let (ethernet, network, transport) = (at(Depth::Ethernet), at(Depth::Network), at(Depth::Transport));
    let whole = len as usize <= data.len();
    for parsed in [ethernet, network, transport] {
        match parsed {
            Ok((key, layout)) => check_shape(&key, layout, data, len.max(data.len() as u32)),
            Err(Unparsed::Runt) => assert!((len as usize) < 14 && data.len() < 14),
            Err(Unparsed::Split) => assert!(!whole, "a frame in one segment is not split"),
            Err(Unparsed::Refused(reason)) => panic!("without tunnels nothing is refused: {reason:?}"),
        }
    }
    assert_eq!(ethernet.is_err(), data.len() < 14);
    // A deeper parse may need bytes that a shallower one does not; never the other way round.
    if let Ok((key, layout)) = transport {
        assert_eq!(network, Ok((network_part(key), layout)));
    }
    if let Ok((key, _)) = network {
        assert_eq!(ethernet, Ok((ethernet_part(&key, port), Layout::default())));
    }
    if network.is_err() {
        assert_eq!(transport, network);
    }
}

/// The first `split` bytes alone give what all do, or say that they do not suffice.
pub(crate) fn check_split(frame: &[u8], len: u32, port: PortId, split: usize) {
    for depth in [Depth::Ethernet, Depth::Network, Depth::Transport] {
        let all: Parsed = parse(frame, len, port, depth);
        let first = parse(&frame[..split], len.max(frame.len() as u32), port, depth);
        assert!(first == all || first == Err(Unparsed::Split), "{depth:?} at {split}: {first:?} and {all:?}");
    }
}

/// What a key at [`Depth::Network`] keeps of a deeper one.
fn network_part(mut key: FlowKey) -> FlowKey {
    let marks = Marks { depth: Depth::Network, l4: L4::Other, ..key.marks() };
    key.set_ports(0, 0);
    key.set_facts(key.protocol(), 0, marks);
    key
}

/// What a key at [`Depth::Ethernet`] keeps of a deeper one.
fn ethernet_part(key: &FlowKey, port: PortId) -> FlowKey {
    let ethertype = match key.marks() {
        Marks { tags: 0, .. } => key.ethertype(),
        Marks { service_tag: true, .. } => 0x88a8,
        _ => 0x8100,
    };
    FlowKey::ethernet(port, key.dst(), key.src(), ethertype)
}

/// No field contradicts another, and no offset points out of the frame.
fn check_shape(key: &FlowKey, layout: Layout, data: &[u8], len: u32) {
    let marks = key.marks();
    let ip = matches!(marks.l3, L3::Ipv4 | L3::Ipv6);
    assert_eq!(layout.l3 != 0, ip);
    assert_eq!(layout.l4 != 0, ip && marks.fragment != Fragment::Later);
    assert_eq!(key.addresses().is_some(), ip);
    if ip {
        assert_eq!(usize::from(layout.l3), 14 + 4 * usize::from(marks.tags));
        let fixed = if marks.l3 == L3::Ipv4 { 20 } else { 40 };
        assert!(usize::from(layout.l3) + fixed <= data.len(), "the address fields are at hand");
        assert!(u32::from(layout.l4) <= len);
        assert_eq!(layout.l4 > layout.l3 + fixed as u16, marks.options && marks.fragment != Fragment::Later);
    } else {
        let nothing = Marks {
            depth: marks.depth,
            tags: marks.tags,
            service_tag: marks.service_tag,
            l3: marks.l3,
            ..Marks::default()
        };
        assert_eq!((marks, key.protocol(), key.traffic_class(), key.ports()), (nothing, 0, 0, (0, 0)));
        assert_eq!(key.words()[4..], [0; 4]);
    }
    if marks.l4 == L4::Known {
        let fixed = match key.protocol() {
            6 => 20,
            17 | 1 | 58 => 8,
            132 => 12,
            other => panic!("protocol {other} has no known header"),
        };
        assert!(usize::from(layout.l4) + fixed <= data.len(), "the transport header is at hand");
    } else {
        assert_eq!(key.ports(), (0, 0));
    }
    assert!(marks.tags > 0 || !marks.service_tag);
}
