//! Packets of SCTP (RFC 9260 section 3), one chunk each, with the checksum over all of it.

use super::frames::{PAYLOAD, Segment};
use crate::wire::crc32c::tests::of_packet;

/// Types of chunks (RFC 9260 section 3.2).
pub(super) const DATA: u8 = 0;
pub(super) const INIT: u8 = 1;
pub(super) const INIT_ACK: u8 = 2;
pub(super) const ABORT: u8 = 6;
pub(super) const COOKIE_ECHO: u8 = 10;
pub(super) const COOKIE_ACK: u8 = 11;

/// Bytes of the header, and of that of a chunk.
const HEADER: usize = 12;
const CHUNK: usize = 4;

/// The first packet of an association, whose sender wants to get this tag.
pub(super) fn init(tag: u32) -> Segment {
    Segment { chunk: INIT, sequence: tag, ..Segment::default() }
}

/// A packet from and to these ports.
pub(super) fn bytes(ports: (u16, u16), segment: &Segment) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend([ports.0, ports.1].map(u16::to_be_bytes).concat());
    bytes.extend(segment.tag.to_be_bytes());
    bytes.extend([0; 4]);
    let mut value = match segment.chunk {
        // The numbers of DATA; the tag that is offered, and what else an INIT has.
        DATA => [[0; 12].as_slice(), PAYLOAD].concat(),
        INIT | INIT_ACK => [segment.sequence.to_be_bytes().as_slice(), &[0; 12]].concat(),
        _ => Vec::new(),
    };
    let length = (CHUNK + value.len()) as u16;
    bytes.extend([segment.chunk, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.append(&mut value);
    let checksum = of_packet(&bytes);
    bytes[8..HEADER].copy_from_slice(&checksum);
    bytes
}

/// Reads one back: its ports, and the rest. The checksum must be right.
pub(super) fn read(packet: &[u8]) -> ((u16, u16), Segment) {
    assert_eq!(packet[8..HEADER], of_packet(packet), "the checksum is right");
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let word = |at: usize| u32::from_be_bytes(*packet[at..].first_chunk().unwrap());
    let chunk = packet[HEADER];
    let sequence = if matches!(chunk, INIT | INIT_ACK) { word(HEADER + CHUNK) } else { 0 };
    let segment = Segment { chunk, tag: word(4), sequence, reset: chunk == ABORT, ..Segment::default() };
    assert!(bytes((port(0), port(2)), &segment) == packet, "nothing else has changed");
    ((port(0), port(2)), segment)
}
