//! Oracles: frames that `etherparse` builds, and a checksum finished twice.

use etherparse::PacketBuilder;
use proptest::prelude::*;
use shunt_ffi::Mempool;
use shunt_ffi::eal::{Eal, EalOptions, Memory};

use super::*;
use crate::offload::checksum::complete;

/// A frame with a right checksum, and where its transport header and checksum field are.
#[derive(Clone, Debug)]
struct Sample {
    bytes: Vec<u8>,
    /// Offset of the network header.
    l3: usize,
    v6: bool,
    start: usize,
    offset: u16,
}

impl Sample {
    fn any() -> impl Strategy<Value = Self> {
        let network = (any::<bool>(), any::<[u8; 16]>(), any::<[u8; 16]>());
        let payload = prop::collection::vec(any::<u8>(), 2..600);
        (network, any::<(u16, u16)>(), any::<bool>(), 0_usize..3, payload)
            .prop_map(|(network, ports, tcp, tags, payload)| Self::build(network, ports, tcp, tags, &payload))
    }

    fn build(
        (v6, from, to): (bool, [u8; 16], [u8; 16]),
        ports: (u16, u16),
        tcp: bool,
        tags: usize,
        payload: &[u8],
    ) -> Self {
        let short = |address: [u8; 16]| [address[0], address[1], address[2], address[3]];
        let link = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
        let mut bytes = Vec::new();
        let network = if v6 { link.ipv6(from, to, 64) } else { link.ipv4(short(from), short(to), 64) };
        if tcp {
            network.tcp(ports.0, ports.1, 7, 1024).write(&mut bytes, payload).unwrap();
        } else {
            network.udp(ports.0, ports.1).write(&mut bytes, payload).unwrap();
        }
        for tag in 0..tags {
            let kind = if tag + 1 == tags { 0x88a8_u16 } else { 0x8100 };
            let [a, b] = kind.to_be_bytes();
            bytes.splice(12..12, [a, b, 0, 42]);
        }
        let l3 = 14 + 4 * tags;
        let start = l3 + if v6 { 40 } else { 20 };
        Self { bytes, l3, v6, start, offset: if tcp { TCP_CHECKSUM } else { UDP_CHECKSUM } }
    }

    fn field(&self) -> std::ops::Range<usize> {
        let at = self.start + usize::from(self.offset);
        at..at + 2
    }

    /// The pseudo header's sum, word by word.
    fn pseudo(&self) -> u16 {
        let protocol = if self.offset == TCP_CHECKSUM { 6 } else { 17 };
        let addresses = if self.v6 { 32 } else { 8 };
        let addresses = &self.bytes[self.start - addresses..self.start];
        let words = addresses.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let mut sum: u32 = words.sum::<u32>() + protocol + (self.bytes.len() - self.start) as u32;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    fn partial(&self) -> Checksum {
        Checksum::Partial { start: self.start as u16, offset: self.offset }
    }
}

fn pool() -> Mempool {
    let eal = Eal::start(&EalOptions { memory: Memory::Ordinary { megabytes: 64 }, pci: false }).unwrap();
    Mempool::new(eal, "partial", 64, 2048).unwrap()
}

/// Marks, finishes if there is anything to finish, and returns the bytes.
fn pass(pool: Mempool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = pool.frame(bytes).unwrap();
    mark(&mut frame);
    complete(&mut frame).unwrap();
    frame.to_vec()
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() }
}

#[test]
fn a_partial_checksum_is_found_and_becomes_the_right_one() {
    let pool = pool();
    proptest!(cases(), |(sample in Sample::any())| {
        let mut left = sample.clone();
        let sum = sample.pseudo();
        left.bytes[sample.field()].copy_from_slice(&sum.to_be_bytes());
        prop_assert_eq!(find(&left.bytes), Some(sample.partial()));
        prop_assert_eq!(pass(pool, &left.bytes), sample.bytes);
    });
}

#[test]
fn a_right_checksum_is_left_alone_or_found_by_chance() {
    let pool = pool();
    proptest!(cases(), |(sample in Sample::any())| {
        let field = u16::from_be_bytes(sample.bytes[sample.field()].try_into().unwrap());
        prop_assert_eq!(find(&sample.bytes).is_some(), field == sample.pseudo());
        prop_assert_eq!(pass(pool, &sample.bytes), sample.bytes);
    });
}

/// The wrong guess, made on purpose: the payload is such that the right checksum equals the pseudo header's sum.
#[test]
fn a_right_checksum_that_looks_partial_stays_as_it_is() {
    let pool = pool();
    proptest!(cases(), |(sample in Sample::any())| {
        let mut sample = sample;
        // An even length, so that the last word is a word of the sum.
        if (sample.bytes.len() - sample.start) % 2 == 1 {
            let shorter = sample.bytes.len() - 1;
            sample.bytes.truncate(shorter);
            let l3 = sample.l3;
            let (at, counts) = if sample.v6 { (l3 + 4, l3 + 40) } else { (l3 + 2, l3) };
            let length = ((shorter - counts) as u16).to_be_bytes();
            sample.bytes[at..at + 2].copy_from_slice(&length);
            if sample.offset == UDP_CHECKSUM {
                let length = ((shorter - sample.start) as u16).to_be_bytes();
                sample.bytes[sample.start + 4..sample.start + 6].copy_from_slice(&length);
            }
        }
        let (field, last) = (sample.field(), sample.bytes.len() - 2..sample.bytes.len());
        let pseudo = sample.pseudo();
        sample.bytes[field.clone()].copy_from_slice(&[0, 0]);
        sample.bytes[last.clone()].copy_from_slice(&[0, 0]);
        // pseudo + rest + last = ~pseudo, in ones' complement.
        let rest = Sum::new().bytes(&sample.bytes[sample.start..]).word(pseudo).word(pseudo);
        sample.bytes[last].copy_from_slice(&rest.checksum().to_be_bytes());
        let right = Sum::new().bytes(&sample.bytes[sample.start..]).word(pseudo).checksum();
        // Zero and minus zero are one number, and the sum of a pseudo header is never written as zero.
        prop_assume!(right != 0);
        prop_assert_eq!(right, pseudo);
        sample.bytes[field].copy_from_slice(&right.to_be_bytes());
        prop_assert_eq!(find(&sample.bytes), Some(sample.partial()));
        prop_assert_eq!(pass(pool, &sample.bytes), sample.bytes);
    });
}

#[test]
fn fragments_padding_and_udp_without_checksum_are_left_alone() {
    let network = (false, [10; 16], [11; 16]);
    let mut sample = Sample::build(network, (1, 2), false, 0, b"payload");
    let sum = sample.pseudo().to_be_bytes();
    let field = sample.field();
    sample.bytes[field.clone()].copy_from_slice(&sum);
    assert!(find(&sample.bytes).is_some());
    let change = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = sample.bytes.clone();
        edit(&mut bytes);
        find(&bytes)
    };
    assert_eq!(change(&|bytes| bytes[20] = 0x20), None, "more fragments");
    assert_eq!(change(&|bytes| bytes[21] = 1), None, "a later fragment");
    assert_eq!(change(&|bytes| bytes.push(0)), None, "padding");
    assert_eq!(change(&|bytes| bytes[field.clone()].fill(0)), None, "no checksum");
    assert_eq!(change(&|bytes| bytes[23] = 132), None, "SCTP");
    assert_eq!(change(&|bytes| bytes[14] = 0x44), None, "a header shorter than any");
}

#[test]
fn no_bytes_lead_outside_the_frame() {
    let any_bytes = prop::collection::vec(any::<u8>(), 0..120);
    let cut = (Sample::any(), 0.0..1.0_f64, any::<prop::sample::Index>(), any::<u8>());
    proptest!(cases(), |(bytes in any_bytes, (sample, share, at, value) in cut)| {
        let check = |bytes: &[u8]| match find(bytes) {
            Some(Checksum::Partial { start, offset }) => usize::from(start + offset) + 2 <= bytes.len(),
            other => other.is_none(),
        };
        prop_assert!(check(&bytes));
        let mut damaged = sample.bytes;
        let place = at.index(damaged.len());
        damaged[place] = value;
        damaged.truncate((damaged.len() as f64 * share) as usize);
        prop_assert!(check(&damaged));
    });
}
