//! The frames: sound and broken ones, aimed at what is in the networks, in an order that repeats and varies them.

use std::env;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use shunt_tests::frames::random::frame;
use shunt_tests::frames::{Body, Frame};

use super::vary::{alter_field, vary};

/// Frames of which all others are variations, for each network.
const BASES: usize = 700;
/// So many of them are seen often.
const POPULAR: usize = 40;
/// Frames of the capture of one network.
pub(crate) const FRAMES: usize = 7_000;
/// The last host of a subnet that is given; the next one is asked for in vain.
pub(crate) const LAST_STATION: u8 = 13;
const ABSENT: u8 = 14;
const BROADCAST: u8 = 15;

/// The Ethernet address of station or gateway (1) `host` in a network.
pub(crate) fn mac(network: u8, host: u8) -> [u8; 6] {
    [2, 0, 0, 0, network, host]
}

/// Its addresses, in subnets of 16.
pub(crate) fn ipv4(network: u8, host: u8) -> [u8; 4] {
    [10, 0, network, host]
}

pub(crate) fn ipv6(network: u8, host: u8) -> [u8; 16] {
    let mut address = [0; 16];
    (address[0], address[1], address[3], address[15]) = (0xfd, 0, network, host);
    address
}

/// What everything follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// That of `SHUNT_SEED`, or the usual one.
    pub(crate) fn of_environment() -> Self {
        Self(env::var("SHUNT_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(20_261_121))
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn host(&mut self) -> u8 {
        2 + self.below(usize::from(LAST_STATION - 1)) as u8
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// The frames that come in by the input port of a network.
pub(crate) fn capture(seed: Seed, network: u8) -> Vec<Vec<u8>> {
    let mut seed = Seed(seed.0 ^ u64::from(network) << 56);
    let bases: Vec<Vec<u8>> = bases(&mut seed, network);
    let mut frames = Vec::with_capacity(FRAMES);
    while frames.len() < FRAMES {
        // Some are seen often and most rarely; now and then many of one in a row.
        let some = if seed.one_in(2) { POPULAR } else { bases.len() };
        let base = &bases[seed.below(some)];
        let row = if seed.one_in(8) { 1 + seed.below(40) } else { 1 };
        for _ in 0..row.min(FRAMES - frames.len()) {
            let mut frame = base.clone();
            match seed.below(6) {
                0 => vary(&mut seed, &mut frame),
                1 | 2 => alter_field(&mut seed, &mut frame),
                _ => {}
            }
            if !is_lesson(&frame, network) {
                frames.push(frame);
            }
        }
    }
    frames
}

fn bases(seed: &mut Seed, network: u8) -> Vec<Vec<u8>> {
    let bytes: Vec<u8> = (0..4).flat_map(|_| seed.next().to_le_bytes()).collect();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = frame();
    let mut draw = || strategy.new_tree(&mut runner).expect("nothing is filtered").current();
    let mut bases: Vec<Vec<u8>> = (0..BASES)
        .map(|number| {
            let mut frame = draw();
            while number < POPULAR / 2 && matches!(frame.body, Body::Other(..)) {
                frame = draw();
            }
            aim(seed, network, &mut frame);
            if number < POPULAR / 2 {
                make_routable(seed, network, &mut frame);
            }
            frame.bytes()
        })
        .collect();
    // Questions to the gateway, to others, and answers to questions that nobody asked.
    for host in [1, 1, 1, seed.host(), ABSENT] {
        for operation in [1, 2] {
            let at = POPULAR / 2 + seed.below(bases.len() - POPULAR / 2);
            bases[at] = arp(seed, network, operation, host);
            let at = seed.below(bases.len());
            bases[at] = discovery(seed, network, 134 + operation, host);
        }
    }
    bases
}

/// Most random addresses would be nobody's: gives the frame some that mean something here.
fn aim(seed: &mut Seed, network: u8, frame: &mut Frame) {
    let other = seed.below(3) as u8;
    frame.dst = match seed.below(20) {
        0..11 => mac(network, 1),
        11..16 => mac(network, seed.host()),
        16 => [0xff; 6],
        17 => [1, 0, 0x5e, 0, 0, 5],
        18 => mac(other, 99),
        _ => frame.dst,
    };
    frame.src = match seed.below(40) {
        0 => mac(network, 1),
        1 => [3, 0, 0, 0, 0, 1],
        2 => frame.src,
        _ => mac(network, seed.host()),
    };
    // Most of what is routed has no tag, as the switch routes both.
    if seed.one_in(2) {
        frame.tags.clear();
    }
    let host = seed.pick(&[seed.clone().host(), seed.clone().host(), 1, ABSENT, BROADCAST]);
    let (near, far) = (seed.host(), seed.host());
    match &mut frame.body {
        Body::Ipv4(ip, _) => {
            ip.source =
                seed.pick(&[ipv4(network, near), ipv4(network, near), ip.source, [0; 4], [127, 0, 0, 1]]);
            ip.destination = match seed.below(16) {
                0..8 => ipv4(other, far),
                8..10 => ipv4(other, host),
                10 => [10, 9, far, near],
                11 => [192, 168, far, near],
                12 => seed.pick(&[[127, 0, 0, 1], [224, 0, 0, 5], [169, 254, 1, 1], [255; 4], [0; 4]]),
                _ => ip.destination,
            };
        }
        Body::Ipv6(ip, _) => {
            let link_local = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, near];
            let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, far];
            ip.source = seed.pick(&[ipv6(network, near), ipv6(network, near), ip.source, link_local]);
            ip.destination = match seed.below(16) {
                0..8 => ipv6(other, far),
                8..10 => ipv6(other, host),
                10 => ipv6(9, far),
                11 => ipv6(8, far),
                12 => seed.pick(&[link_local, group, [0; 16]]),
                _ => ip.destination,
            };
        }
        Body::Other(..) => {}
    }
}

/// From a station through the gateway to another network, with hops to lose.
fn make_routable(seed: &mut Seed, network: u8, frame: &mut Frame) {
    let (from, to, other) = (seed.host(), seed.host(), 1 + seed.below(2) as u8);
    (frame.dst, frame.src) = (mac(network, 1), mac(network, from));
    match &mut frame.body {
        Body::Ipv4(ip, _) => {
            (ip.source, ip.destination, ip.ttl) = (ipv4(network, from), ipv4(other, to), 64);
        }
        Body::Ipv6(ip, _) => {
            (ip.source, ip.destination, ip.hop_limit) = (ipv6(network, from), ipv6(other, to), 64);
        }
        Body::Other(..) => {}
    }
}

/// An ARP message about `host`: 1 is a request.
fn arp(seed: &mut Seed, network: u8, operation: u8, host: u8) -> Vec<u8> {
    let from = seed.host();
    let (dst, src) = (seed.pick(&[[0xff; 6], mac(network, 1)]), mac(network, from));
    let mut bytes = [dst, src].concat();
    bytes.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    bytes.extend([src.as_slice(), &ipv4(network, from), &[0; 6], &ipv4(network, host)].concat());
    bytes
}

/// A neighbour solicitation (135) or advertisement (136) about `host`, with its checksum.
fn discovery(seed: &mut Seed, network: u8, kind: u8, host: u8) -> Vec<u8> {
    let from = seed.host();
    let src = mac(network, from);
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, host];
    let (dst, to) = match seed.below(2) {
        0 => ([0x33, 0x33, 0xff, 0, 0, host], group),
        _ => (mac(network, 1), ipv6(network, 1)),
    };
    let target = ipv6(network, if kind == 135 { host } else { from });
    let mut bytes = [dst, src].concat();
    bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255]);
    bytes.extend([ipv6(network, from), to].concat());
    bytes.extend([kind, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([target.as_slice(), &[kind - 134, 1], &src].concat());
    let checksum = !icmpv6_sum(&bytes, 32);
    bytes[56..58].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The ones' complement sum of an ICMPv6 message of `length` bytes and its pseudo header (RFC 8200 section 8.1), plainly.
fn icmpv6_sum(frame: &[u8], length: usize) -> u16 {
    let covered = [&frame[22..54], &frame[54..54 + length]].concat();
    let words = covered.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum = words.sum::<u32>() + length as u32 + 58;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// True when the switch keeps the frame for itself: an answer to one of its addresses, from a source that may be one.
/// Options of the message (RFC 4861 section 4.6) must be whole, its checksum right.
pub(crate) fn is_for_switch(frame: &[u8], network: u8) -> bool {
    let at = |place: usize, bytes: &[u8]| frame.get(place..place + bytes.len()) == Some(bytes);
    if frame.len() < 14 || frame[6] & 1 == 1 || at(6, &mac(network, 1)) {
        return false;
    }
    if at(12, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2]) {
        return at(38, &ipv4(network, 1));
    }
    let advertisement =
        at(12, &[0x86, 0xdd]) && at(20, &[58, 255]) && at(38, &ipv6(network, 1)) && at(54, &[136, 0]);
    if !advertisement || frame[14] >> 4 != 6 {
        return false;
    }
    let payload = usize::from(u16::from_be_bytes([frame[18], frame[19]]));
    let Some(mut options) = frame.get(78..(54 + payload).max(78)).filter(|_| payload >= 24) else {
        return false;
    };
    while let [_, units, ..] = *options {
        let length = usize::from(units) * 8;
        if length == 0 || length > options.len() {
            return false;
        }
        options = &options[length..];
    }
    icmpv6_sum(frame, payload) == 0xffff
}

/// True when a variation teaches an address that is not given: from then on the outcome would depend on when the control
/// thread takes note of it.
fn is_lesson(frame: &[u8], network: u8) -> bool {
    let absent = |at: usize, address: &[u8]| frame.get(at..at + address.len()) == Some(address);
    match frame.get(12..14) {
        Some([8, 6]) => absent(28, &ipv4(network, ABSENT)) || absent(28, &ipv4(network, 0)),
        Some([0x86, 0xdd]) => [0, ABSENT, BROADCAST]
            .iter()
            .any(|host| absent(22, &ipv6(network, *host)) || absent(62, &ipv6(network, *host))),
        _ => false,
    }
}
