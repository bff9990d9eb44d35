//! What must hold of what is read from ARP and neighbour discovery messages, which teach the switch who has an address.

use shunt_switch::wire::{arp, nd};

/// Panics when a property does not hold; `frame` is an untagged Ethernet frame. True when it was a message of either.
pub(crate) fn check(frame: &[u8]) -> bool {
    let (neighbor, address) = (nd::parse(frame), arp::parse(frame));
    if let Some(message) = neighbor {
        check_nd(&message, frame);
    }
    if let Some(message) = address {
        assert_eq!(frame[20..22], [0, if message.operation == arp::Operation::Request { 1 } else { 2 }]);
        assert_eq!(frame[28..32], message.sender_ip.octets());
        assert_eq!(frame[38..42], message.target_ip.octets());
        assert_eq!(frame[22..28], message.sender_mac.bytes());
    }
    neighbor.is_some() || address.is_some()
}

/// RFC 4861 section 7.1, read from the bytes one by one.
fn check_nd(message: &nd::Message, frame: &[u8]) {
    let length = usize::from(frame[18]) << 8 | usize::from(frame[19]);
    let body = &frame[54..54 + length];
    assert_eq!((frame[14] >> 4, frame[20], frame[21], body[1]), (6, 58, 255, 0));
    assert_eq!(body[0], if message.solicitation { 135 } else { 136 });
    assert_eq!(frame[22..38], message.source.octets());
    assert_eq!(body[8..24], message.target.octets());
    // Pseudo header and message add up to all ones (RFC 4443 section 2.3).
    let pair = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 =
        frame[22..54].chunks(2).chain(body.chunks(2)).map(pair).sum::<u32>() + length as u32 + 58;
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    assert_eq!(sum, 0xffff, "the checksum");
    // The address is that of every option of the kind: kernels take the first or the last. Options end where the message does.
    let wanted = if message.solicitation { 1 } else { 2 };
    let (mut at, mut found) = (24, None);
    while at + 2 <= body.len() {
        let units = usize::from(body[at + 1]);
        assert!(units > 0 && at + units * 8 <= body.len(), "an option that does not fit");
        if body[at] == wanted && units == 1 {
            let address = &body[at + 2..at + 8];
            assert!(found.is_none_or(|before| before == address), "two addresses");
            found = Some(address);
        }
        at += units * 8;
    }
    assert_eq!(found, message.link_layer.map(|mac| mac.bytes()).as_ref().map(|bytes| &bytes[..]));
}
