//! By which member a frame leaves: a hash of its headers, so that a flow stays on one link and is never reordered.
//!
//! What is hashed is the frame as it leaves: of a tunnel packet the outer headers, whose UDP source port stands for the inner flow.
//! Fragments have no ports behind the first, so none of them is hashed with ports, and all of a packet take the same way. Cost: some
//! twenty instructions and two multiplications a frame, on bonds only.

use shunt_config::BondHash;

use crate::flow::hash::fold;
use crate::wire::ethernet;
use crate::wire::protocol::{SCTP, TCP, UDP};

/// Words without visible order: the first two that [`spread`](crate::flow::hash::spread) makes of 1.
const SEEDS: [u64; 2] = [0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67];

/// The hash of a frame of which `data` are the first bytes.
#[inline]
pub(super) fn hash(policy: BondHash, data: &[u8]) -> u64 {
    let (ethertype, at) = behind_tags(data);
    match policy {
        BondHash::Layer2 => link(data),
        BondHash::Layer23 => match addresses(data, ethertype, at) {
            Some(ip) => link(data) ^ ip.addresses.rotate_left(32),
            None => link(data),
        },
        BondHash::Layer34 => match addresses(data, ethertype, at) {
            Some(ip) => {
                fold(ip.addresses ^ SEEDS[1], u64::from(ip.ports(data)) << 8 | u64::from(ip.protocol))
            }
            None => link(data),
        },
    }
}

/// Both Ethernet addresses, and what follows them: an EtherType or the TPID and TCI of a tag.
#[inline]
fn link(data: &[u8]) -> u64 {
    let Some(bytes) = data.first_chunk::<16>() else { return 0 };
    let [a, b] = words(bytes);
    // Of an untagged frame the last two bytes are not the header's.
    let tagged =
        matches!(u16::from_be_bytes([bytes[12], bytes[13]]), ethernet::CUSTOMER_TAG | ethernet::SERVICE_TAG);
    let vlan = if tagged { u64::from(u16::from_be_bytes([bytes[14], bytes[15]]) & 0xfff) } else { 0 };
    fold(a ^ SEEDS[0], (b & 0xffff_ffff | vlan << 32) ^ SEEDS[1])
}

/// What a frame's IP header says of its flow.
struct Ip {
    addresses: u64,
    protocol: u8,
    /// Where the transport header begins; `None` in fragments.
    transport: Option<usize>,
}

impl Ip {
    /// Source and destination port; 0 where there are none.
    #[inline]
    fn ports(&self, data: &[u8]) -> u32 {
        let bytes = self.transport.filter(|_| matches!(self.protocol, TCP | UDP | SCTP));
        let bytes = bytes.and_then(|at| data.get(at..)?.first_chunk::<4>());
        bytes.map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// The EtherType behind up to two tags, and where what it says begins.
#[inline]
fn behind_tags(data: &[u8]) -> (u16, usize) {
    let mut at = 12;
    for _ in 0..2 {
        match ethertype_at(data, at) {
            ethernet::CUSTOMER_TAG | ethernet::SERVICE_TAG => at += 4,
            _ => break,
        }
    }
    (ethertype_at(data, at), at + 2)
}

#[inline]
fn ethertype_at(data: &[u8], at: usize) -> u16 {
    data.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

#[inline]
fn addresses(data: &[u8], ethertype: u16, at: usize) -> Option<Ip> {
    let header = data.get(at..)?;
    match ethertype {
        ethernet::IPV4 => {
            let header = header.first_chunk::<20>()?;
            let length = usize::from(header[0] & 0x0f) * 4;
            // More fragments, or an offset.
            let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0;
            let pair: [u8; 8] = header[12..20].try_into().ok()?;
            Some(Ip {
                addresses: fold(u64::from_le_bytes(pair) ^ SEEDS[0], SEEDS[1]),
                protocol: header[9],
                transport: (!fragment).then_some(at + length),
            })
        }
        ethernet::IPV6 => {
            let header = header.first_chunk::<40>()?;
            let pair: &[u8; 32] = header[8..40].try_into().ok()?;
            let [a, b, c, d] = words(pair);
            let addresses =
                fold(a ^ SEEDS[0], b ^ SEEDS[1]) ^ fold(c ^ SEEDS[1], d ^ SEEDS[0]).rotate_left(17);
            // Behind extension headers, a fragment's among them, ports are not looked for.
            Some(Ip { addresses, protocol: header[6], transport: Some(at + 40) })
        }
        _ => None,
    }
}

#[inline]
fn words<const BYTES: usize, const WORDS: usize>(bytes: &[u8; BYTES]) -> [u64; WORDS] {
    std::array::from_fn(|word| {
        let chunk = bytes.get(word * 8..).and_then(<[u8]>::first_chunk);
        chunk.map_or(0, |chunk| u64::from_le_bytes(*chunk))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::share::bucket;
    use super::*;

    /// UDP over IPv4 from that address and port, with so many tags.
    fn frame(source: u32, port: u16, tags: usize, fragment: u16) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        for _ in 0..tags {
            frame.extend([0x81, 0, 0, 7]);
        }
        frame.extend([8, 0, 0x45, 0, 0, 36, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, UDP, 0, 0]);
        frame.extend(source.to_be_bytes());
        frame.extend([10, 0, 0, 2]);
        frame.extend(port.to_be_bytes());
        frame.extend([0x12, 0xb5, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        frame
    }

    const ALL: [BondHash; 3] = [BondHash::Layer2, BondHash::Layer23, BondHash::Layer34];

    #[test]
    fn flows_spread_evenly_over_the_members() {
        for members in 2..=8_usize {
            for tags in 0..=2 {
                let mut counts = vec![0_u32; members];
                for flow in 0..8_000_u32 {
                    let data = frame(0x0a00_0000 + flow / 100, 1024 + (flow % 100) as u16, tags, 0);
                    counts[bucket(hash(BondHash::Layer34, &data)) % members] += 1;
                }
                let fair = 8_000 / members as u32;
                assert!(counts.iter().all(|count| count.abs_diff(fair) < fair / 5), "{counts:?}");
            }
        }
    }

    #[test]
    fn the_seeds_are_what_they_are_said_to_be() {
        assert_eq!(crate::flow::hash::spread::<2>(1), SEEDS);
    }

    #[test]
    fn each_policy_reads_what_it_says() {
        let base = frame(1, 1, 0, 0);
        let same = |policy, other: &[u8]| hash(policy, &base) == hash(policy, other);
        let (port, address) = (frame(1, 2, 0, 0), frame(2, 1, 0, 0));
        assert!(same(BondHash::Layer2, &port) && same(BondHash::Layer2, &address));
        assert!(same(BondHash::Layer23, &port) && !same(BondHash::Layer23, &address));
        assert!(!same(BondHash::Layer34, &port) && !same(BondHash::Layer34, &address));
        let mut mac = base.clone();
        mac[11] = 9;
        assert!(
            !same(BondHash::Layer2, &mac) && !same(BondHash::Layer23, &mac) && same(BondHash::Layer34, &mac)
        );
        // What follows the headers says nothing.
        let mut payload = base.clone();
        *payload.last_mut().unwrap() ^= 0xff;
        assert!(ALL.iter().all(|policy| same(*policy, &payload)));
    }

    #[test]
    fn fragments_of_a_packet_stay_together() {
        // First, middle, last: what lies where the ports would be is payload.
        let hashes = [(1, 0x2000), (0xabcd, 0x2003), (0x7777, 0x0006)]
            .map(|(port, fragment)| hash(BondHash::Layer34, &frame(1, port, 1, fragment)));
        assert!(hashes.iter().all(|hash| *hash == hashes[0]));
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            for policy in ALL {
                let _ = hash(policy, &bytes);
            }
        }
    }
}
