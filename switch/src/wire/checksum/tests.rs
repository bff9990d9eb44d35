use super::*;
use etherparse::{IpNumber, Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};
use proptest::prelude::*;

/// RFC 1071 section 4.1 word by word, big-endian, nothing clever.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

#[test]
fn known_values() {
    // The example of RFC 1071 section 3.
    let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
    assert_eq!(Sum::new().bytes(&bytes).value(), 0xddf2);
    assert_eq!(Sum::new().bytes(&bytes).checksum(), 0x220d);
    // The example of RFC 1624 section 4, which equation 2 of RFC 1141 gets wrong.
    assert_eq!(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
    assert_eq!(Sum::new().checksum(), 0xffff);
    assert_eq!((fold(0), fold(1 << 48), fold(u64::MAX)), (0, 1, 0xffff));
    assert_eq!(udp_field(0), 0xffff);
    assert_eq!(udp_field(1), 1);
}

/// IPv6 has 32 bits for the length in its pseudo header (jumbograms), and they count.
#[test]
fn long_messages() {
    for length in [0usize, 1, 8, 1279, 65_535, 65_536, 70_001] {
        let (source, destination) = ([0xfd; 16], [0xfc; 16]);
        let message = vec![0xa5; length];
        let pseudo = [&source[..], &destination, &(length as u32).to_be_bytes(), &[0, 0, 0, 58]].concat();
        let wanted = !naive(&[&pseudo[..], &message].concat());
        assert_eq!(transport_v6(&source, &destination, 58, &message), wanted, "length {length}");
    }
}

/// All ones is where carries are lost: every length around the loop's borders, and a whole 64 KiB frame and more.
#[test]
fn carries_survive() {
    let ones = vec![0xff; 200_001];
    for length in (0..300).chain([65_534, 65_535, 65_536, 200_000, 200_001]) {
        assert_eq!(Sum::new().bytes(&ones[..length]).value(), naive(&ones[..length]), "length {length}");
    }
    let mut sum = Sum::new();
    for _ in 0..1000 {
        sum = sum.bytes(&ones[..65_535]);
    }
    assert_eq!(sum.value(), 0xffff);
}

proptest! {
    #[test]
    fn whole_is_naive(bytes in prop::collection::vec(any::<u8>(), 0..2000), skip in 0usize..9) {
        let bytes = &bytes[skip.min(bytes.len())..];
        prop_assert_eq!(Sum::new().bytes(bytes).value(), naive(bytes));
    }

    #[test]
    fn chain_is_flat(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..150), 0..12), word: u16) {
        let flat: Vec<u8> = parts.concat();
        let chain = parts.iter().fold(Sum::new(), |sum, part| sum.bytes(part).word(word));
        let words = parts.iter().fold(Sum::new().bytes(&flat), |sum, _| sum.word(word));
        prop_assert_eq!(chain.value(), words.value());
    }

    #[test]
    fn incremental_is_full(
        mut bytes in prop::collection::vec(any::<u8>(), 40..120),
        at in 0usize..10,
        new: [u8; 16],
    ) {
        // A covered region that is all zero after the change does not occur: it holds a protocol number.
        bytes[39] |= 1;
        let at = at * 2;
        let before = Sum::new().bytes(&bytes).checksum();
        let changed = |count: usize| {
            let mut after = bytes.clone();
            after[at..at + count].copy_from_slice(&new[..count]);
            Sum::new().bytes(&after).checksum()
        };
        let old: [u8; 16] = bytes[at..at + 16].try_into().unwrap();
        let word = |bytes: &[u8; 16]| u16::from_be_bytes([bytes[0], bytes[1]]);
        let double = |bytes: &[u8; 16]| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        prop_assert_eq!(update16(before, word(&old), word(&new)), changed(2));
        prop_assert_eq!(update32(before, double(&old), double(&new)), changed(4));
        prop_assert_eq!(update_bytes(before, &old, &new), changed(16));
        prop_assert_eq!(update_bytes(before, &old[..6], &new[..6]), changed(6));
        // There and back again.
        prop_assert_eq!(update_bytes(update_bytes(before, &old, &new), &new, &old), before);
    }

    /// A partial checksum is the sum itself: updating its complement moves the pseudo header to other addresses.
    #[test]
    fn partial_update(source: [u8; 4], old: [u8; 4], new: [u8; 4], length: u16) {
        let seed = Sum::pseudo_v4(source, old, 17, length).value();
        let moved = !update32(!seed, u32::from_be_bytes(old), u32::from_be_bytes(new));
        prop_assert_eq!(moved, Sum::pseudo_v4(source, new, 17, length).value());
    }

    #[test]
    fn etherparse_agrees(
        source: [u8; 16],
        destination: [u8; 16],
        seq: u32,
        payload in prop::collection::vec(any::<u8>(), 0..1500),
    ) {
        let v4 = |bytes: &[u8; 16]| [bytes[0], bytes[1], bytes[2], bytes[3]];
        let (source4, destination4) = (v4(&source), v4(&destination));
        let ip4 = Ipv4Header::new(payload.len() as u16, 64, IpNumber::TCP, source4, destination4).unwrap();
        let ip6 = Ipv6Header { source, destination, next_header: IpNumber::TCP, ..Default::default() };
        let mut wire = ip4.to_bytes();
        wire[10..12].fill(0);
        prop_assert_eq!(Sum::new().bytes(&wire).checksum(), ip4.calc_header_checksum());

        let tcp = TcpHeader::new(80, 4000, seq, 512);
        let length = tcp.header_len() + payload.len();
        let header = tcp.to_bytes();
        let sum = Sum::pseudo_v4(source4, destination4, 6, length as u16).bytes(&header).bytes(&payload);
        prop_assert_eq!(sum.checksum(), tcp.calc_checksum_ipv4(&ip4, &payload).unwrap());
        let sum = Sum::pseudo_v6(source, destination, 6, length as u32).bytes(&header).bytes(&payload);
        prop_assert_eq!(sum.checksum(), tcp.calc_checksum_ipv6(&ip6, &payload).unwrap());

        let udp = UdpHeader::without_ipv4_checksum(53, 5353, payload.len()).unwrap();
        let length = payload.len() as u16 + 8;
        let sum = Sum::pseudo_v4(source4, destination4, 17, length).bytes(&udp.to_bytes()).bytes(&payload);
        prop_assert_eq!(udp_field(sum.checksum()), udp.calc_checksum_ipv4(&ip4, &payload).unwrap());
        let sum = Sum::pseudo_v6(source, destination, 17, length.into()).bytes(&udp.to_bytes()).bytes(&payload);
        prop_assert_eq!(udp_field(sum.checksum()), udp.calc_checksum_ipv6(&ip6, &payload).unwrap());
    }
}
