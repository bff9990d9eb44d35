//! Fragments: put together again they are the packet, whatever its options, tags and buffers were.

use std::sync::OnceLock;

use etherparse::Ipv4HeaderSlice;
use proptest::prelude::*;
use shunt_ffi::Mempool;
use shunt_ffi::offload::{Checksum, Offload, UDP_CHECKSUM};

use super::super::fragment::{MAX_FRAGMENTS, fragment};
use super::{OffloadError, chain, pool};
use crate::wire::checksum::Sum;

const ROOM: u16 = 512;

/// One pool for all cases: they run one after the other.
fn shared() -> Mempool {
    static POOL: OnceLock<Mempool> = OnceLock::new();
    *POOL.get_or_init(|| pool("fragments", 512, ROOM))
}

/// An IPv4 packet behind an Ethernet header with so many tags.
fn packet(tags: usize, options: &[u8], word: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![2; 12];
    bytes.extend([0x81, 0, 0, 7].repeat(tags));
    bytes.extend([8, 0]);
    let length = 20 + options.len();
    let mut header = vec![0x40 | (length / 4) as u8, 3, 0, 0, 0xab, 0xcd, 0, 0, 64, 17, 0, 0];
    header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    header.extend(options);
    header[2..4].copy_from_slice(&((length + payload.len()) as u16).to_be_bytes());
    header[6..8].copy_from_slice(&word.to_be_bytes());
    let sum = Sum::new().bytes(&header).checksum();
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes.extend(header);
    bytes.extend(payload);
    bytes
}

/// Options of which some are to be copied, in words of four bytes: type, length and value, or padding.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        Just(vec![1, 1, 1, 1]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![7, 4, a, b]),
        any::<[u8; 2]>().prop_map(|[a, b]| vec![148, 4, a, b]),
        any::<[u8; 6]>().prop_map(|value| [vec![134, 8], value.to_vec()].concat()),
    ];
    prop::collection::vec(option, 0..6).prop_map(|list| list.concat())
}

proptest! {
    #[test]
    fn put_together_again_they_are_the_packet(
        tags in 0_usize..3, options in options(), mtu in 68_u16..1600, first in 80_usize..400,
        cuts in prop::collection::vec(1_usize..400, 1..4), before in 0_u16..40, more: bool,
        payload in prop::collection::vec(any::<u8>(), 1..3000), padding in 0_usize..10,
    ) {
        let pool = shared();
        let free = pool.available();
        let l3 = 14 + 4 * tags;
        let header = 20 + options.len();
        // A fragment may be cut again; one that more follow has whole units.
        let payload = if more { &payload[..(payload.len() / 8 * 8).max(payload.len().min(7))] } else { &payload[..] };
        let more = more && payload.len() % 8 == 0;
        let word = before | if more { 0x2000 } else { 0 };
        let bytes = packet(tags, &options, word, payload);
        let padded = [bytes.clone(), vec![0xee; padding]].concat();
        let frame = chain(pool, &padded, first.max(l3 + header).min(padded.len()), &cuts);
        let mut made = Vec::new();
        let outcome = fragment(&frame, l3, mtu, pool, &mut |fragment| made.push(fragment.to_vec()));
        let size = (usize::from(mtu) - header) / 8 * 8;
        if payload.len().div_ceil(size) > MAX_FRAGMENTS {
            prop_assert_eq!(outcome, Err(OffloadError::TooManySegments));
            prop_assert!(made.is_empty());
        } else {
            prop_assert_eq!(outcome, Ok(()));
            let mut together = vec![0; payload.len()];
            let mut seen = 0;
            for (index, made_one) in made.iter().enumerate() {
                prop_assert_eq!(&made_one[..l3], &bytes[..l3], "another Ethernet header");
                let ip = Ipv4HeaderSlice::from_slice(&made_one[l3..]).unwrap();
                prop_assert_eq!(ip.header_checksum(), ip.to_header().calc_header_checksum());
                prop_assert_eq!(usize::from(ip.total_len()), made_one.len() - l3, "padding is not cut off");
                prop_assert!(ip.total_len() <= mtu);
                prop_assert_eq!((ip.identification(), ip.ttl(), ip.source(), ip.destination()), (0xabcd, 64, [10, 0, 0, 1], [10, 0, 0, 2]));
                let last = index + 1 == made.len();
                prop_assert_eq!(ip.more_fragments(), !last || more);
                if index == 0 {
                    prop_assert_eq!(ip.options(), &options[..]);
                } else {
                    // Only what has the copied flag: 134 and 148 of those above.
                    prop_assert!(kinds(ip.options()).iter().all(|kind| *kind >= 128));
                    let wanted = kinds(&options).iter().filter(|kind| **kind >= 128).count();
                    prop_assert_eq!(kinds(ip.options()).len(), wanted);
                }
                let data = &made_one[l3 + usize::from(ip.ihl()) * 4..];
                let at = (usize::from(ip.fragments_offset().value()) - usize::from(before)) * 8;
                prop_assert!(last || data.len() % 8 == 0);
                together[at..at + data.len()].copy_from_slice(data);
                seen += data.len();
            }
            prop_assert_eq!((seen, &together[..]), (payload.len(), payload));
        }
        drop(frame);
        prop_assert_eq!(pool.available(), free, "a buffer is lost");
    }
}

/// Types of the options that are more than padding.
fn kinds(mut options: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, rest @ ..] = options {
        match kind {
            0 => break,
            1 => options = rest,
            kind => {
                kinds.push(*kind);
                options = &options[usize::from(rest[0])..];
            }
        }
    }
    kinds
}

#[test]
fn what_must_not_be_cut_is_refused() {
    let pool = pool("uncut", 256, 2048);
    let cut = |bytes: &[u8], mtu| fragment(&pool.frame(bytes).unwrap(), 14, mtu, pool, &mut |_| {});
    let payload = [7; 900];
    assert_eq!(cut(&packet(0, &[], 0, &payload), 500), Ok(()));
    assert_eq!(cut(&packet(0, &[], 0x4000, &payload), 500), Err(OffloadError::BadOffload), "DF");
    assert_eq!(cut(&packet(0, &[], 0, &payload), 27), Err(OffloadError::BadOffload), "no room for a unit");
    assert_eq!(cut(&packet(0, &[], 0, &[7; 1024]), 28), Ok(()), "as many as may be");
    assert_eq!(cut(&packet(0, &[], 0, &[7; 1025]), 28), Err(OffloadError::TooManySegments));
    // Offsets end at 2^13 units, lengths where the frame does.
    assert_eq!(cut(&packet(0, &[], 0x1fff, &payload), 500), Err(OffloadError::BadOffload));
    let mut long = packet(0, &[], 0, &payload);
    long[16] = 0xff;
    assert_eq!(cut(&long, 500), Err(OffloadError::BadOffload));
    let mut v6 = packet(0, &[], 0, &payload);
    v6[14] = 0x65;
    assert_eq!(cut(&v6, 500), Err(OffloadError::BadOffload));
    let mut unfinished = pool.frame(&packet(0, &[], 0, &payload)).unwrap();
    let checksum = Checksum::Partial { start: 34, offset: UDP_CHECKSUM };
    unfinished.set_offload(Offload { checksum, gso: None }).unwrap();
    assert_eq!(fragment(&unfinished, 14, 500, pool, &mut |_| {}), Err(OffloadError::BadOffload));
}
