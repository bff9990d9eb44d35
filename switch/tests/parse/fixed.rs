//! The frames that the tests by hand start from.

use shunt_switch::flow::key::{Depth, FlowKey, L3, L4};
use shunt_switch::flow::parse::Layout;
use shunt_tests::frames::{Body, Extension, Frame, Ipv6, Payload, Piece, Transport};

use super::whole;

pub(crate) const TCP: Transport = Transport::Tcp(1000, 80, 0x02, 0);
pub(crate) const UDP: Transport = Transport::Udp(1000, 53, true);

pub(crate) fn ipv4(transport: Transport, data: usize) -> Frame {
    let Body::Ipv4(ip, _) = Frame::plain().body else { unreachable!() };
    Frame { body: Body::Ipv4(ip, Payload { transport, data: vec![0; data] }), ..Frame::plain() }
}

pub(crate) fn ipv6(extensions: Vec<Extension>, transport: Transport, data: usize) -> Frame {
    let ip = Ipv6 { source: [1; 16], destination: [2; 16], class: 0, hop_limit: 64, extensions };
    Frame { body: Body::Ipv6(ip, Payload { transport, data: vec![0; data] }), ..Frame::plain() }
}

pub(crate) fn piece(frame: &mut Frame, piece: Piece) {
    let Body::Ipv4(ip, _) = &mut frame.body else { unreachable!() };
    ip.piece = piece;
}

pub(crate) fn transport(bytes: &[u8]) -> (FlowKey, Layout) {
    whole(bytes, Depth::Transport).unwrap()
}

/// Verdicts of the two upper layers and the protocol.
pub(crate) fn verdict(bytes: &[u8]) -> (L3, L4, u8) {
    let key = transport(bytes).0;
    (key.marks().l3, key.marks().l4, key.protocol())
}
