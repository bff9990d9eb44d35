//! Datagrams in fragments (RFC 791 section 3.2, RFC 8200 section 4.5), as a host cuts them and puts them together.

use crate::wire::checksum::Sum;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// Of the IPv6 fragment header.
const FRAGMENT: usize = 8;
const FRAGMENT_HEADER: u8 = 44;
/// Bytes of payload in each but the last: as few as may be, so that the first has no more than the transport header.
const EACH: usize = 8;

/// In which order the three pieces of a datagram may come.
pub(super) const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The three pieces of a frame whose IP payload is 17 to 24 bytes long.
pub(super) fn cut(frame: &[u8], id: u16) -> Vec<Vec<u8>> {
    let v4 = frame[ETHERNET] >> 4 == 4;
    let (head, payload) = frame.split_at(ETHERNET + if v4 { IPV4 } else { IPV6 });
    let last = payload.len().div_ceil(EACH) - 1;
    assert_eq!(last, 2, "it is to have three pieces");
    let piece = |(at, part): (usize, &[u8])| {
        let mut bytes = head.to_vec();
        if v4 {
            let length = (IPV4 + part.len()) as u16;
            let more = if at == last { 0 } else { 0x2000 };
            bytes[ETHERNET + 2..][..2].copy_from_slice(&length.to_be_bytes());
            bytes[ETHERNET + 4..][..2].copy_from_slice(&id.to_be_bytes());
            bytes[ETHERNET + 6..][..2].copy_from_slice(&(more | at as u16).to_be_bytes());
            seal(&mut bytes);
        } else {
            let length = (FRAGMENT + part.len()) as u16;
            bytes[ETHERNET + 4..][..2].copy_from_slice(&length.to_be_bytes());
            let next = std::mem::replace(&mut bytes[ETHERNET + 6], FRAGMENT_HEADER);
            bytes.extend([next, 0]);
            bytes.extend(((at as u16) << 3 | u16::from(at != last)).to_be_bytes());
            bytes.extend(u32::from(id).to_be_bytes());
        }
        bytes.extend(part);
        bytes
    };
    payload.chunks(EACH).enumerate().map(piece).collect()
}

/// The frame that these pieces, in any order, are of; `None` when they are not all of one.
pub(super) fn join(mut pieces: Vec<Vec<u8>>) -> Option<Vec<u8>> {
    let v4 = pieces.first()?[ETHERNET] >> 4 == 4;
    let at = |piece: &Vec<u8>| {
        let field = if v4 { ETHERNET + 6 } else { ETHERNET + IPV6 + 2 };
        let field = u16::from_be_bytes([piece[field], piece[field + 1]]);
        if v4 { (field & 0x1fff, field & 0x2000 != 0) } else { (field >> 3, field & 1 != 0) }
    };
    pieces.sort_by_key(at);
    let numbers: Vec<_> = pieces.iter().map(at).collect();
    if numbers != [(0, true), (1, true), (2, false)] {
        return None;
    }
    // What tells the datagram from others, and who sent it to whom, is the same in all.
    let alike = |piece: &[u8]| {
        let ip = &piece[ETHERNET..];
        let own = if v4 {
            [&ip[..2], &ip[4..6], &ip[8..10], &ip[12..IPV4]].concat()
        } else {
            [&ip[..4], &ip[6..IPV6 + 2], &ip[IPV6 + 4..][..4]].concat()
        };
        [&piece[..ETHERNET], &own].concat()
    };
    if pieces.iter().any(|piece| alike(piece) != alike(&pieces[0])) {
        return None;
    }
    let head = ETHERNET + if v4 { IPV4 } else { IPV6 + FRAGMENT };
    let payload: Vec<u8> = pieces.iter().flat_map(|piece| piece[head..].to_vec()).collect();
    let mut whole = pieces[0][..ETHERNET + if v4 { IPV4 } else { IPV6 }].to_vec();
    if v4 {
        // Each came with a sound sum over its own header.
        for piece in &pieces {
            assert_eq!(Sum::new().bytes(&piece[ETHERNET..][..IPV4]).value(), 0xffff);
        }
        let length = (IPV4 + payload.len()) as u16;
        whole[ETHERNET + 2..][..2].copy_from_slice(&length.to_be_bytes());
        whole[ETHERNET + 6..][..2].fill(0);
        seal(&mut whole);
    } else {
        whole[ETHERNET + 4..][..2].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        whole[ETHERNET + 6] = pieces[0][ETHERNET + IPV6];
    }
    whole.extend(payload);
    Some(whole)
}

/// Makes the sum over the IPv4 header.
fn seal(frame: &mut [u8]) {
    frame[ETHERNET + 10..][..2].fill(0);
    let sum = Sum::new().bytes(&frame[ETHERNET..][..IPV4]).checksum();
    frame[ETHERNET + 10..][..2].copy_from_slice(&sum.to_be_bytes());
}

#[test]
fn what_is_cut_is_put_together() {
    use super::frames::{Segment, TTL, Talk, Wire};
    use super::places::address;
    use crate::wire::ethernet::Mac;
    use crate::wire::protocol::UDP;

    for v6 in [false, true] {
        let (from, to) = (address(0, v6), address(1, v6));
        let talk = Talk { protocol: UDP, from, to, ports: (1, 2) };
        let wire = Wire { macs: (Mac(2), Mac(4)), ttl: TTL, talk, segment: Segment::default() };
        for order in ORDERS {
            let pieces = cut(&wire.bytes(), 7);
            let joined = join(order.iter().map(|at| pieces[*at].clone()).collect()).unwrap();
            assert_eq!(Wire::read(&joined), Some(wire));
        }
        assert_eq!(join(cut(&wire.bytes(), 7)[1..].to_vec()), None);
    }
}
