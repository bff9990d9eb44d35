//! Packets as the model thinks of them, and as frames.

use std::net::IpAddr;

use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Type, IpNumber, NetSlice, PacketBuilder, SlicedPacket, TcpHeader,
    TransportSlice, icmpv4, icmpv6,
};

use super::places::ZONE;
use super::sctp;
use crate::state::Tuple;
use crate::state::tuple::Parts;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::Mac;
use crate::wire::protocol::{ICMP, ICMPV6, SCTP, TCP, UDP};

/// Of the second port of an echo message.
pub(super) const REQUEST: u16 = 8;
const REPLY: u16 = 0;

pub(super) const TTL: u8 = 64;
/// Of what was routed once.
pub(super) const ROUTED: u8 = TTL - 1;
pub(super) const PAYLOAD: &[u8] = b"what is said";

/// What tells a packet's connection: of an echo message the ports are its identifier, and whether it asks. The protocol is
/// ICMP in both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Talk {
    pub(super) protocol: u8,
    pub(super) from: IpAddr,
    pub(super) to: IpAddr,
    pub(super) ports: (u16, u16),
}

impl Talk {
    /// What answers it.
    pub(super) fn back(self) -> Self {
        let ports = match self.protocol {
            ICMP => (self.ports.0, if self.ports.1 == REQUEST { REPLY } else { REQUEST }),
            _ => (self.ports.1, self.ports.0),
        };
        Self { from: self.to, to: self.from, ports, ..self }
    }

    pub(super) fn is_v6(&self) -> bool {
        self.from.is_ipv6()
    }

    /// As the table has it.
    pub(super) fn tuple(&self) -> Tuple {
        let (source, destination) = (self.from, self.to);
        let (protocol, destination_port) = match (self.protocol, self.is_v6(), self.ports.1) {
            (ICMP, false, kind) => (ICMP, kind << 8),
            (ICMP, true, kind) => (ICMPV6, if kind == REQUEST { 128 << 8 } else { 129 << 8 }),
            (protocol, _, port) => (protocol, port),
        };
        let source_port = self.ports.0;
        Tuple::new(&Parts { zone: ZONE, protocol, source, destination, source_port, destination_port })
            .unwrap()
    }
}

/// The part of a TCP header, or of an SCTP packet, that a connection goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) reset: bool,
    pub(super) sequence: u32,
    pub(super) acknowledges: Option<u32>,
    /// SCTP: the type of the only chunk, of which `reset` is ABORT and `sequence` the tag that an INIT or INIT ACK offers; and the tag
    /// of the packet.
    pub(super) chunk: u8,
    pub(super) tag: u32,
}

/// One packet on a wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    /// Sender and receiver.
    pub(super) macs: (Mac, Mac),
    pub(super) ttl: u8,
    pub(super) talk: Talk,
    /// Of TCP and SCTP alone.
    pub(super) segment: Segment,
}

impl Wire {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let Talk { protocol, from, to, ports } = self.talk;
        let frame = PacketBuilder::ethernet2(self.macs.0.bytes(), self.macs.1.bytes());
        let packet = match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => frame.ipv4(from.octets(), to.octets(), self.ttl),
            (IpAddr::V6(from), IpAddr::V6(to)) => frame.ipv6(from.octets(), to.octets(), self.ttl),
            _ => panic!("both are of one family"),
        };
        let mut bytes = Vec::new();
        let asks = ports.1 == REQUEST;
        match (protocol, from.is_ipv6()) {
            (TCP, _) => {
                let Segment { syn, fin, reset, sequence, acknowledges, .. } = self.segment;
                let mut header = TcpHeader::new(ports.0, ports.1, sequence, 60_000);
                (header.syn, header.fin, header.rst) = (syn, fin, reset);
                header.ack = acknowledges.is_some();
                header.acknowledgment_number = acknowledges.unwrap_or(0);
                packet.tcp_header(header).write(&mut bytes, b"")
            }
            (SCTP, _) => packet.write(&mut bytes, IpNumber::SCTP, &sctp::bytes(ports, &self.segment)),
            (UDP, _) => packet.udp(ports.0, ports.1).write(&mut bytes, PAYLOAD),
            (_, false) if asks => packet.icmpv4_echo_request(ports.0, 1).write(&mut bytes, PAYLOAD),
            (_, false) => packet.icmpv4_echo_reply(ports.0, 1).write(&mut bytes, PAYLOAD),
            (_, true) if asks => packet.icmpv6_echo_request(ports.0, 1).write(&mut bytes, PAYLOAD),
            (_, true) => packet.icmpv6_echo_reply(ports.0, 1).write(&mut bytes, PAYLOAD),
        }
        .unwrap();
        bytes
    }

    /// Reads a frame back, whose checksums must all be right; `None` for what is none of these packets.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        let mac = |at: usize| Mac::from_bytes(*bytes[at..].first_chunk().unwrap());
        let (from, to, ttl) = match packet.net.as_ref()? {
            NetSlice::Ipv4(ip) => {
                let header = ip.header();
                assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
                (header.source_addr().into(), header.destination_addr().into(), header.ttl())
            }
            NetSlice::Ipv6(ip) => {
                let header = ip.header();
                (header.source_addr().into(), header.destination_addr().into(), header.hop_limit())
            }
            NetSlice::Arp(_) => return None,
        };
        let payload = packet.ip_payload()?.payload;
        let macs = (mac(6), mac(0));
        if packet.ip_payload()?.ip_number == IpNumber::SCTP {
            let (ports, segment) = sctp::read(payload);
            return Some(Self { macs, ttl, talk: Talk { protocol: SCTP, from, to, ports }, segment });
        }
        let mut segment = Segment::default();
        let echo = |echo: &IcmpEchoHeader, kind: u16| (ICMP, (echo.id, kind), 8);
        let (protocol, ports, header) = match packet.transport.as_ref()? {
            TransportSlice::Tcp(tcp) => {
                segment = Segment {
                    syn: tcp.syn(),
                    fin: tcp.fin(),
                    reset: tcp.rst(),
                    sequence: tcp.sequence_number(),
                    acknowledges: tcp.ack().then(|| tcp.acknowledgment_number()),
                    ..Segment::default()
                };
                (TCP, (tcp.source_port(), tcp.destination_port()), payload.len())
            }
            TransportSlice::Udp(udp) => (UDP, (udp.source_port(), udp.destination_port()), 8),
            TransportSlice::Icmpv4(icmp) => match icmp.icmp_type() {
                Icmpv4Type::EchoRequest(header) => echo(&header, REQUEST),
                Icmpv4Type::EchoReply(header) => echo(&header, REPLY),
                _ => return None,
            },
            TransportSlice::Icmpv6(icmp) => match icmp.icmp_type() {
                Icmpv6Type::EchoRequest(header) => echo(&header, REQUEST),
                Icmpv6Type::EchoReply(header) => echo(&header, REPLY),
                _ => return None,
            },
            TransportSlice::Igmp(_) => return None,
        };
        let talk = Talk { protocol, from, to, ports };
        assert!(is_sound(&talk, payload), "the checksum is right: {talk:?}");
        assert!(protocol == TCP || &payload[header..] == PAYLOAD, "the payload stays");
        Some(Self { macs, ttl, talk, segment })
    }
}

/// The frame of an error (port unreachable) with which the receiver of a packet of `about` complains to `to`.
pub(super) fn complaint(macs: (Mac, Mac), ttl: u8, (from, to): (IpAddr, IpAddr), about: Talk) -> Vec<u8> {
    let quoted = Wire { macs, ttl: ROUTED, talk: about, segment: Segment::default() }.bytes();
    let (frame, quoted) = (PacketBuilder::ethernet2(macs.0.bytes(), macs.1.bytes()), &quoted[14..]);
    let mut bytes = Vec::new();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let error = Icmpv4Type::DestinationUnreachable(icmpv4::DestUnreachableHeader::Port);
            frame.ipv4(from.octets(), to.octets(), ttl).icmpv4(error).write(&mut bytes, quoted)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let error = Icmpv6Type::DestinationUnreachable(icmpv6::DestUnreachableCode::Port);
            frame.ipv6(from.octets(), to.octets(), ttl).icmpv6(error).write(&mut bytes, quoted)
        }
        _ => panic!("both are of one family"),
    }
    .unwrap();
    bytes
}

/// True when the checksum of a transport header is right.
fn is_sound(talk: &Talk, payload: &[u8]) -> bool {
    let pseudo = match (talk.from, talk.to) {
        (IpAddr::V4(_), IpAddr::V4(_)) if talk.protocol == ICMP => Sum::new(),
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            Sum::pseudo_v4(from.octets(), to.octets(), talk.protocol, payload.len() as u16)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let protocol = if talk.protocol == ICMP { ICMPV6 } else { talk.protocol };
            Sum::pseudo_v6(from.octets(), to.octets(), protocol, payload.len() as u32)
        }
        _ => return false,
    };
    pseudo.bytes(payload).value() == 0xffff
}
