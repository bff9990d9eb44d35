//! The TCP segment that refuses another, as a host sends it where nobody listens (RFC 9293 section 3.10.7.1).
//!
//! Pure functions over bytes. A connection attempt that is answered so ends at once, with "connection refused"; about an ICMP error
//! most kernels only make a note.

use super::checksum::{Sum, transport_v6};
use super::ethernet;
use super::icmp::Link;
use super::protocol::TCP;

/// Longest Ethernet header of a frame that is answered: two tags.
const LINK: usize = ethernet::HEADER + 8;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// A TCP header without options.
const HEADER: usize = 20;
/// TTL of what the switch sends itself.
const TTL: u8 = 64;
/// "Don't fragment": it needs no identification (RFC 6864 section 4.1).
const DONT_FRAGMENT: u8 = 0x40;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// A whole frame with a reset in it.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: [u8; LINK + IPV6 + HEADER],
    len: usize,
}

impl Frame {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn behind(link: &Link<'_>, packet: usize) -> Option<Self> {
        let header = link.header;
        (ethernet::HEADER..=LINK).contains(&header.len()).then_some(())?;
        let mut frame = Self { bytes: [0; LINK + IPV6 + HEADER], len: header.len() + packet };
        frame.bytes.get_mut(..header.len())?.copy_from_slice(header);
        ethernet::set_addresses(&mut frame.bytes, link.to, link.from);
        Some(frame)
    }
}

/// The header of the segment that refuses `segment`, without its checksum; `None` for a reset, which is not answered, and for what is
/// no sound header. `length` is that of the whole segment in bytes, header included.
fn refusal(segment: &[u8], length: usize) -> Option<[u8; HEADER]> {
    let header = segment.first_chunk::<HEADER>()?;
    let offset = usize::from(header[12] >> 4) * 4;
    let flags = header[13];
    if flags & RST != 0 || offset < HEADER || length < offset {
        return None;
    }
    let word = |at: usize| {
        header.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word))
    };
    // What the segment takes of the sequence space.
    let taken = length - offset + usize::from(flags & SYN != 0) + usize::from(flags & FIN != 0);
    let (sequence, acknowledged, flags) = match flags & ACK != 0 {
        true => (word(8), 0, RST),
        false => (0, word(4).wrapping_add(taken as u32), RST | ACK),
    };
    let mut answer = [0; HEADER];
    answer[..2].copy_from_slice(&header[2..4]);
    answer[2..4].copy_from_slice(&header[..2]);
    answer[4..8].copy_from_slice(&sequence.to_be_bytes());
    answer[8..12].copy_from_slice(&acknowledged.to_be_bytes());
    answer[12] = (HEADER as u8 / 4) << 4;
    answer[13] = flags;
    Some(answer)
}

/// The frame that refuses the TCP segment `at` bytes into the IPv4 `packet`, from the address that it was sent to. `length` is how long
/// the packet is, bytes: the bytes at hand may be fewer.
///
/// `None` when nothing is answered, or `link` has no Ethernet header.
pub fn v4(link: &Link<'_>, packet: &[u8], at: usize, length: usize) -> Option<Frame> {
    let mut answer = refusal(packet.get(at..)?, length.checked_sub(at)?)?;
    let (source, destination): ([u8; 4], [u8; 4]) =
        (*packet.get(12..)?.first_chunk()?, *packet.get(16..)?.first_chunk()?);
    let sum = Sum::pseudo_v4(destination, source, TCP, HEADER as u16).bytes(&answer).checksum();
    answer[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Frame::behind(link, IPV4 + HEADER)?;
    let (header, segment) =
        frame.bytes.get_mut(link.header.len()..frame.len)?.split_first_chunk_mut::<IPV4>()?;
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((IPV4 + HEADER) as u16).to_be_bytes());
    header[6] = DONT_FRAGMENT;
    header[8] = TTL;
    header[9] = TCP;
    header[12..16].copy_from_slice(&destination);
    header[16..20].copy_from_slice(&source);
    let sum = Sum::new().bytes(header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    segment.copy_from_slice(&answer);
    Some(frame)
}

/// The same for IPv6.
pub fn v6(link: &Link<'_>, packet: &[u8], at: usize, length: usize) -> Option<Frame> {
    let mut answer = refusal(packet.get(at..)?, length.checked_sub(at)?)?;
    let (source, destination): ([u8; 16], [u8; 16]) =
        (*packet.get(8..)?.first_chunk()?, *packet.get(24..)?.first_chunk()?);
    let sum = transport_v6(&destination, &source, TCP, &answer);
    answer[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Frame::behind(link, IPV6 + HEADER)?;
    let (header, segment) =
        frame.bytes.get_mut(link.header.len()..frame.len)?.split_first_chunk_mut::<IPV6>()?;
    header[0] = 0x60;
    header[4..6].copy_from_slice(&(HEADER as u16).to_be_bytes());
    header[6] = TCP;
    header[7] = TTL;
    header[8..24].copy_from_slice(&destination);
    header[24..40].copy_from_slice(&source);
    segment.copy_from_slice(&answer);
    Some(frame)
}

#[cfg(test)]
mod tests {
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};

    use super::*;
    use crate::wire::ethernet::Mac;

    /// A segment over IPv4 or IPv6 with these flags, sequence number 1000, acknowledging 77, and so many bytes.
    fn packet(six: bool, flags: u8, payload: usize) -> Vec<u8> {
        let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let builder = match six {
            false => builder.ipv4([10, 0, 0, 1], [10, 96, 0, 1], 3),
            true => builder.ipv6([0xfd; 16], [0xfe; 16], 3),
        };
        let mut tcp = builder.tcp(40_000, 80, 1000, 512);
        for (bit, set) in [(FIN, 0), (SYN, 1), (RST, 2)] {
            if flags & bit != 0 {
                tcp = match set {
                    0 => tcp.fin(),
                    1 => tcp.syn(),
                    _ => tcp.rst(),
                };
            }
        }
        if flags & ACK != 0 {
            tcp = tcp.ack(77);
        }
        let payload = vec![7; payload];
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &payload).unwrap();
        bytes
    }

    type Make = fn(&Link<'_>, &[u8], usize, usize) -> Option<Frame>;

    fn answer(six: bool, flags: u8, payload: usize) -> Option<Vec<u8>> {
        let frame = packet(six, flags, payload);
        let (header, packet) = frame.split_at(14);
        let link = Link { header, to: Mac(4), from: Mac(6) };
        // The headers alone are at hand, as of a frame in pieces.
        let (at, make): (usize, Make) = if six { (40, v6) } else { (20, v4) };
        make(&link, packet.get(..at + HEADER).unwrap(), at, packet.len()).map(|frame| frame.bytes().to_vec())
    }

    #[test]
    fn every_segment_but_a_reset_is_refused_as_the_rfc_says() {
        for six in [false, true] {
            // Flags, bytes; sequence, acknowledgment, and whether that counts.
            for (flags, payload, wanted) in [
                (SYN, 0, (0, 1001, true)),
                (SYN, 10, (0, 1011, true)),
                (0, 5, (0, 1005, true)),
                (FIN, 5, (0, 1006, true)),
                (SYN | ACK, 0, (77, 0, false)),
                (ACK, 100, (77, 0, false)),
                (FIN | ACK, 0, (77, 0, false)),
            ] {
                let bytes = answer(six, flags, payload).unwrap();
                assert_eq!(bytes[..12], [4, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0]);
                let sliced = SlicedPacket::from_ethernet(&bytes).unwrap();
                let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP: {bytes:?}") };
                assert!(tcp.rst() && !tcp.syn() && !tcp.fin());
                assert_eq!((tcp.sequence_number(), tcp.acknowledgment_number(), tcp.ack()), wanted);
                assert_eq!((tcp.source_port(), tcp.destination_port()), (80, 40_000));
                let packet = &bytes[14..];
                let right = match six {
                    false => {
                        assert_eq!(
                            (&packet[12..16], &packet[16..20]),
                            (&[10, 96, 0, 1][..], &[10, 0, 0, 1][..])
                        );
                        assert_eq!(Sum::new().bytes(&packet[..20]).value(), 0xffff);
                        Sum::pseudo_v4([10, 96, 0, 1], [10, 0, 0, 1], TCP, 20).bytes(&packet[20..])
                    }
                    true => {
                        assert_eq!((&packet[8..24], &packet[24..40]), (&[0xfe; 16][..], &[0xfd; 16][..]));
                        Sum::pseudo_v6([0xfe; 16], [0xfd; 16], TCP, 20).bytes(&packet[40..])
                    }
                };
                assert_eq!(right.value(), 0xffff, "checksum");
            }
            assert!(answer(six, RST, 0).is_none() && answer(six, RST | ACK, 0).is_none());
        }
    }

    #[test]
    fn broken_headers_are_not_answered() {
        let link = Link { header: &[0; 14], to: Mac(4), from: Mac(6) };
        let packet = packet(false, SYN, 0).split_off(14);
        assert!(v4(&link, &packet, 20, 40).is_some());
        for (at, length) in [(20, 39), (20, 10), (21, 40), (41, 60)] {
            assert!(v4(&link, &packet, at, length).is_none(), "{at} {length}");
        }
        let mut short = packet.clone();
        short[32] = 0x40;
        assert!(v4(&link, &short, 20, 40).is_none(), "a header of sixteen bytes");
        short[32] = 0xf0;
        assert!(v4(&link, &short, 20, 40).is_none(), "a header longer than the segment");
        assert!(v4(&Link { header: &[0; 30], ..link }, &packet, 20, 40).is_none());
    }
}
