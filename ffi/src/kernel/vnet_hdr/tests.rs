//! Headers that hold, headers that lie, and what is finished in software.

use proptest::prelude::*;

use super::*;
use crate::Mempool;
use crate::eal::{Eal, EalOptions, Memory};

fn pool() -> Mempool {
    use std::sync::OnceLock;
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| {
        let eal = Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false }).unwrap();
        Mempool::new(eal, "vnet", 255, 2048).unwrap()
    })
}

/// Ethernet, IPv4 with `options` bytes of options, `protocol`, then `rest`.
fn ipv4(protocol: u8, options: usize, rest: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    frame.extend([8, 0, 0x45 + (options / 4) as u8, 0]);
    frame.extend(((20 + options + rest.len()) as u16).to_be_bytes());
    frame.extend([0, 0, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(vec![0; options]);
    frame.extend(rest);
    frame
}

fn tcp(flags: u8, payload: usize) -> Vec<u8> {
    let mut segment = vec![0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 1, 0, 0, 0, 0, 0];
    segment.extend(vec![0x55; payload]);
    segment
}

fn needs(start: u16, offset: u16) -> VnetHdr {
    VnetHdr { flags: NEEDS_CSUM, csum_start: start, csum_offset: offset, ..VnetHdr::default() }
}

#[test]
fn tcp_state_is_carried_both_ways_with_the_ecn_bit_read_from_the_header() {
    for (flags, ecn) in [(0x10, 0), (0x90, GSO_ECN)] {
        for strip in [0, 14] {
            let mut frame = pool().frame(&ipv4(6, 0, &tcp(flags, 1900))).unwrap();
            let mut header = needs(34 - strip, TCP_CHECKSUM);
            (header.gso_type, header.gso_size, header.hdr_len) = (GSO_TCPV4 | ecn, 500, 54 - strip);
            assert_eq!(header.apply(&mut frame, strip), Ok(Applied::Carried));
            let state = frame.offload().unwrap();
            assert_eq!(state.checksum, Checksum::Partial { start: 34, offset: TCP_CHECKSUM });
            assert_eq!(state.gso, Some(Gso { kind: GsoKind::TcpV4, size: 500 }));
            assert_eq!(VnetHdr::of(&frame, strip), Ok(header));
        }
    }
}

#[test]
fn a_frame_without_state_gives_an_empty_header_but_for_the_storage_hint() {
    let mut frame = pool().frame(&ipv4(17, 0, &[0; 100])).unwrap();
    assert_eq!(VnetHdr::default().apply(&mut frame, 0), Ok(Applied::Carried));
    assert_eq!(VnetHdr::of(&frame, 0), Ok(VnetHdr { hdr_len: 128, ..VnetHdr::default() }));
    let valid = VnetHdr { flags: DATA_VALID, ..VnetHdr::default() };
    assert_eq!(valid.apply(&mut frame, 0), Ok(Applied::Carried));
    assert_eq!(frame.offload().unwrap().checksum, Checksum::Valid);
    assert_eq!(VnetHdr::of(&frame, 0).unwrap().flags, DATA_VALID);
}

#[test]
fn sctp_is_finished_with_its_own_checksum() {
    // Source and destination port, tag, checksum, a chunk. The value is from an independent CRC32c.
    let segment = [0x30, 0x39, 0, 9, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 4];
    let mut frame = pool().frame(&ipv4(132, 0, &segment)).unwrap();
    assert_eq!(needs(34, SCTP_CHECKSUM).apply(&mut frame, 0), Ok(Applied::Completed));
    assert!(!frame.needs_offload());
    let mut zeroed = segment;
    zeroed[8..12].fill(0);
    let expected = bitwise_crc32c(&zeroed).to_le_bytes();
    assert_eq!(frame.data()[42..46], expected);
}

/// RFC 9260 appendix A, bit by bit.
fn bitwise_crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in bytes {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[test]
fn the_inner_checksum_of_a_tunnel_is_finished_in_software() {
    // IPIP: the partial checksum is that of the inner TCP header, which DPDK's fields cannot say.
    let inner = ipv4(6, 0, &tcp(0x10, 33));
    let mut frame = pool().frame(&ipv4(4, 0, &inner[14..])).unwrap();
    assert_eq!(needs(54, TCP_CHECKSUM).apply(&mut frame, 0), Ok(Applied::Completed));
    assert!(!frame.needs_offload());
    let mut sum: u32 = frame.data()[54..]
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)))
        .sum();
    sum = (sum & 0xffff) + (sum >> 16);
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the field held 0, so the sum over all is -0");
    // The same as a large send could not be cut right by anybody after us.
    let mut frame = pool().frame(&ipv4(4, 0, &inner[14..])).unwrap();
    let large = VnetHdr { gso_type: GSO_TCPV4, gso_size: 10, ..needs(54, TCP_CHECKSUM) };
    let gso = Gso { kind: GsoKind::TcpV4, size: 10 };
    assert_eq!(large.apply(&mut frame, 0), Ok(Applied::MustCut { start: 54, offset: TCP_CHECKSUM, gso }));
    assert!(!frame.needs_offload());
}

#[test]
fn a_checksum_that_comes_out_as_zero_is_written_as_all_ones() {
    // UDP: the words of the datagram sum to 0xffff with a zero field, so the checksum would be 0.
    let datagram = [0, 0, 0, 0, 0, 10, 0, 0, 0xff, 0xf5];
    // A destination-unreachable-like protocol number keeps it out of the carried path.
    let mut frame = pool().frame(&ipv4(99, 0, &datagram)).unwrap();
    assert_eq!(needs(34, UDP_CHECKSUM).apply(&mut frame, 0), Ok(Applied::Completed));
    assert_eq!(frame.data()[40..42], [0xff, 0xff]);
}

#[test]
fn lies_are_found_out() {
    let good = ipv4(6, 0, &tcp(0x10, 1900));
    let lies = [
        VnetHdr { gso_type: GSO_TCPV4, gso_size: 500, ..VnetHdr::default() },
        VnetHdr { gso_type: GSO_TCPV4, ..needs(34, TCP_CHECKSUM) },
        VnetHdr { gso_type: GSO_TCPV6, gso_size: 500, ..needs(34, TCP_CHECKSUM) },
        VnetHdr { gso_type: GSO_UDP_L4, gso_size: 500, ..needs(34, TCP_CHECKSUM) },
        VnetHdr { gso_type: 3, gso_size: 500, ..needs(34, UDP_CHECKSUM) },
        VnetHdr { gso_type: 0x7f, gso_size: 500, ..needs(34, TCP_CHECKSUM) },
        VnetHdr { gso_type: GSO_TCPV4, gso_size: 500, ..needs(33, TCP_CHECKSUM) },
        needs(2000, TCP_CHECKSUM),
        needs(u16::MAX, TCP_CHECKSUM),
        needs(34, u16::MAX),
        needs(u16::MAX, u16::MAX),
    ];
    for lie in lies {
        let mut frame = pool().frame(&good).unwrap();
        assert_eq!(lie.apply(&mut frame, 0), Err(Undecodable), "{lie:?}");
    }
    let mut fragment = good.clone();
    fragment[20] = 0x20;
    let mut frame = pool().frame(&fragment).unwrap();
    let large = VnetHdr { gso_type: GSO_TCPV4, gso_size: 500, ..needs(34, TCP_CHECKSUM) };
    assert_eq!(large.apply(&mut frame, 0), Err(Undecodable), "a fragment is not cut again");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(20_000) })]

    /// Whatever header comes with whatever frame: no panic, and a state that is carried can be sent on.
    #[test]
    fn any_header_with_any_frame_is_carried_finished_or_dropped(
        flags in any::<u8>(),
        gso_type in prop_oneof![Just(0), Just(1), Just(4), Just(5), Just(0x81), any::<u8>()],
        gso_size in prop_oneof![0..2000u16, any::<u16>()],
        csum_start in prop_oneof![Just(34), Just(54), 0..100u16, any::<u16>()],
        csum_offset in prop_oneof![Just(16), Just(6), Just(8), any::<u16>()],
        shift in prop_oneof![Just(0u16), Just(4), Just(14)],
        protocol in prop_oneof![Just(6u8), Just(17), Just(132), any::<u8>()],
        options in 0..11usize,
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        noise in proptest::collection::vec((0..300usize, any::<u8>()), 0..4),
        cut in 0..300usize,
    ) {
        let mut bytes = ipv4(protocol, options * 4, &rest);
        for (at, byte) in noise {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut.max(1));
        let mut frame = pool().frame(&bytes).unwrap();
        let header = VnetHdr { flags, gso_type, hdr_len: 0, gso_size, csum_start, csum_offset, num_buffers: 0 };
        let outcome = header.apply(&mut frame, shift);
        prop_assert_eq!(frame.len() as usize, bytes.len());
        match outcome {
            Ok(Applied::Carried) => {
                let sent = VnetHdr::of(&frame, 0).unwrap();
                prop_assert_eq!(sent.flags & NEEDS_CSUM, flags & NEEDS_CSUM);
                prop_assert_eq!(sent.gso_type & !GSO_ECN, if flags & NEEDS_CSUM == 0 { 0 } else { gso_type & !GSO_ECN });
                prop_assert!(sent.hdr_len as usize <= bytes.len());
                prop_assert_eq!(frame.to_vec(), bytes);
            }
            Ok(Applied::Completed) => prop_assert!(!frame.needs_offload()),
            // Whether it is a tunnel, `tunnel` finds out.
            Ok(Applied::MustCut { .. }) => prop_assert!(gso_type != GSO_NONE && !frame.needs_offload()),
            Err(Undecodable) => {}
        }
    }
}
