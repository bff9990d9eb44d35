//! Short TCP connections: opened, closed, nothing said.

use shunt_switch::wire::checksum::Sum;

use super::{Answers, Frame, regular, seal};

/// Segments of one connection.
pub const SEGMENTS: u32 = 6;

const TCP: u8 = 6;
/// Offset of the TCP header in the frame, and bytes of it.
const AT: usize = 34;
const LENGTH: usize = 20;
const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;
/// First sequence numbers of both sides.
const OPENER: u32 = 1_000;
const ANSWERER: u32 = 5_000;

/// [`SEGMENTS`] segments for each of `connections` connections between the addresses and ports of [`regular`], one connection
/// after the other: the handshake, and a close by the opener (RFC 9293 sections 3.5 and 3.6), answered as `answers` says.
pub fn handshakes(connections: u32, answers: Answers) -> impl Iterator<Item = Frame> + 'static {
    regular(connections).flat_map(move |flow| {
        let back = answers.to(flow);
        let (mine, yours) = (OPENER + 1, ANSWERER + 1);
        [
            segment(flow, SYN, OPENER, 0),
            segment(back, SYN | ACK, ANSWERER, mine),
            segment(flow, ACK, mine, yours),
            segment(flow, FIN | ACK, mine, yours),
            segment(back, FIN | ACK, yours, mine + 1),
            segment(flow, ACK, mine + 1, yours + 1),
        ]
    })
}

/// The datagram in `frame` as a TCP segment without data. Peers check its checksum before they track it.
fn segment(mut frame: Frame, flags: u8, sequence: u32, acknowledgement: u32) -> Frame {
    let ip = &mut frame[14..AT];
    ip[2..4].copy_from_slice(&(20 + LENGTH as u16).to_be_bytes());
    ip[9] = TCP;
    seal(ip);
    let addresses: [u8; 8] = std::array::from_fn(|at| frame[26 + at]);
    let [a, b, c, d, e, f, g, h] = addresses;
    let tcp = &mut frame[AT..AT + LENGTH];
    tcp[4..8].copy_from_slice(&sequence.to_be_bytes());
    tcp[8..12].copy_from_slice(&acknowledgement.to_be_bytes());
    tcp[12..14].copy_from_slice(&[5 << 4, flags]);
    tcp[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
    tcp[16..20].fill(0);
    let sum = Sum::pseudo_v4([a, b, c, d], [e, f, g, h], TCP, LENGTH as u16).bytes(tcp);
    tcp[16..18].copy_from_slice(&sum.checksum().to_be_bytes());
    frame
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::frames::MASQUERADED;
    use etherparse::{NetSlice, SlicedPacket, TransportSlice};

    #[test]
    fn segments_are_sound_and_follow_each_other() {
        let frames: Vec<Frame> = handshakes(300, Answers::Masqueraded).collect();
        assert_eq!(frames.len(), 300 * SEGMENTS as usize);
        for (number, frame) in frames.iter().enumerate() {
            let packet = SlicedPacket::from_ethernet(frame).unwrap();
            let (Some(NetSlice::Ipv4(ip)), Some(TransportSlice::Tcp(tcp))) = (&packet.net, &packet.transport)
            else {
                panic!("frame {number} is no TCP over IPv4");
            };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let sum = tcp.calc_checksum_ipv4(header.source, header.destination).unwrap();
            assert_eq!(tcp.checksum(), sum);
            let is_answer = matches!(number as u32 % SEGMENTS, 1 | 4);
            let masqueraded = header.destination == MASQUERADED;
            assert_eq!((is_answer, masqueraded), (masqueraded, is_answer));
            assert_eq!(tcp.syn(), number as u32 % SEGMENTS < 2);
            assert_ne!(Ipv4Addr::from(header.source), Ipv4Addr::UNSPECIFIED);
        }
    }
}
