//! What must hold of what the switch says about packets to their senders, and hears of what it asked: ICMP errors, echo replies, TCP
//! resets, for any bytes whatever.

use std::net::{Ipv4Addr, Ipv6Addr};

use shunt_switch::wire::checksum::{Sum, transport_v6};
use shunt_switch::wire::ethernet::Mac;
use shunt_switch::wire::icmp::{self, Error, Link};
use shunt_switch::wire::{echo, reset};

const ERRORS: [Error; 7] = [
    Error::NoRoute,
    Error::NoHost,
    Error::NoProtocol,
    Error::NoPort,
    Error::Prohibited,
    Error::Expired,
    Error::TooBig(1400),
];
const FROM: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
const FROM6: (Ipv6Addr, Ipv6Addr) =
    (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2));

/// How a case is written in bytes: a control word, then an Ethernet frame.
///
/// | byte | is |
/// |---|---|
/// | 0 | the error, modulo how many there are |
/// | 1 | bytes of the frame in front of the packet |
/// | 2 | where the packet is split into two pieces, and its transport header begins |
/// | 3 | bytes that the packet is longer than what is at hand |
pub(crate) const CONTROL: usize = 4;

/// Panics when a property does not hold. How many of the three (an error, an echo reply, a reset) were said.
pub(crate) fn check(input: &[u8]) -> usize {
    let Some((&[error, link, at, more], frame)) = input.split_first_chunk::<CONTROL>() else { return 0 };
    if let Some(heard) = echo::heard(frame)
        && heard.error.is_none()
    {
        assert!(echo::concerns(frame, heard.ident));
    }
    let Some((header, packet)) = frame.split_at_checked(usize::from(link)) else { return 0 };
    let link = Link { header, to: Mac(2), from: Mac(4) };
    let error = ERRORS[usize::from(error) % ERRORS.len()];
    let at = usize::from(at).min(packet.len());
    let length = packet.len() + usize::from(more);
    let said = check_errors(error, &link, packet, at, length);
    usize::from(said) + usize::from(check_echo(packet)) + usize::from(check_resets(&link, packet, at, length))
}

/// A packet with an IP header of so many bytes adds up, and so does its message.
fn check_sums(packet: &[u8], protocol: u8) {
    match packet[0] >> 4 {
        4 => {
            assert_eq!(Sum::new().bytes(&packet[..20]).checksum(), 0, "the header's checksum");
            assert_eq!(usize::from(packet[2]) << 8 | usize::from(packet[3]), packet.len());
            let ends = [&packet[12..16], &packet[16..20]].map(|end| end.try_into().expect("an address"));
            let pseudo = match protocol {
                1 => Sum::new(),
                other => Sum::pseudo_v4(ends[0], ends[1], other, packet.len() as u16 - 20),
            };
            assert_eq!(pseudo.bytes(&packet[20..]).checksum(), 0, "the message's checksum");
        }
        _ => {
            assert_eq!(usize::from(packet[4]) << 8 | usize::from(packet[5]), packet.len() - 40);
            let ends = [&packet[8..24], &packet[24..40]].map(|end| end.try_into().expect("an address"));
            assert_eq!(transport_v6(&ends[0], &ends[1], protocol, &packet[40..]), 0, "the checksum");
        }
    }
}

/// An error quotes the packet as it came, as much of it as there may be, whether it lies in one piece or in two.
fn check_errors(error: Error, link: &Link<'_>, packet: &[u8], at: usize, length: usize) -> bool {
    let (one, other) = packet.split_at(at);
    let whole = icmp::error_v4(error, link, FROM, std::iter::once(packet), length);
    let split = icmp::error_v4(error, link, FROM, [one, other].into_iter(), length);
    let whole6 = icmp::error_v6(error, link, FROM6, std::iter::once(packet), length);
    let split6 = icmp::error_v6(error, link, FROM6, [one, other].into_iter(), length);
    let sound = (14..=22).contains(&link.header.len());
    for (said, pieces, ip, longest, protocol) in
        [(&whole, &split, 20, icmp::LONGEST_V4, 1), (&whole6, &split6, 40, icmp::LONGEST_V6, 58)]
    {
        assert_eq!(said.is_some(), sound);
        let (Some(said), Some(pieces)) = (said, pieces) else { continue };
        assert_eq!(said.bytes(), pieces.bytes());
        let (front, answer) = said.bytes().split_at(link.header.len());
        assert_eq!(front[12..], link.header[12..]);
        assert!(answer.len() <= longest);
        check_sums(answer, protocol);
        let quoted = &answer[ip + 8..];
        assert_eq!(quoted, &packet[..length.min(longest - ip - 8).min(packet.len())]);
    }
    sound
}

/// A request becomes its reply and nothing else changes, or nothing at all changes.
fn check_echo(packet: &[u8]) -> bool {
    let mut reply = packet.to_vec();
    let said = match packet.first().map(|first| first >> 4) {
        Some(4) => icmp::echo_v4(&mut reply),
        Some(6) => icmp::echo_v6(&mut reply, 40),
        _ => None,
    };
    if said.is_none() {
        assert_eq!(reply, packet);
        return false;
    }
    assert_eq!(reply.len(), packet.len());
    let (source, destination, at) = match packet[0] >> 4 {
        4 => (12..16, 16..20, usize::from(packet[0] & 15) * 4),
        _ => (8..24, 24..40, 40),
    };
    assert_eq!(
        (&reply[source.clone()], &reply[destination.clone()]),
        (&packet[destination], &packet[source])
    );
    assert_eq!(reply[at + 4..], packet[at + 4..], "identifier, number and data");
    // A checksum that was right is right.
    if packet[0] >> 4 == 4 {
        let sum = |bytes: &[u8]| Sum::new().bytes(bytes).checksum();
        assert_eq!(sum(&packet[..at]) == 0, sum(&reply[..at]) == 0, "the header's checksum");
        assert_eq!(sum(&packet[at..]) == 0, sum(&reply[at..]) == 0, "the message's checksum");
    }
    true
}

/// A reset goes back to where the segment came from, and is a whole packet.
fn check_resets(link: &Link<'_>, packet: &[u8], at: usize, length: usize) -> bool {
    let v4 = reset::v4(link, packet, at, length);
    let v6 = reset::v6(link, packet, at, length);
    for (said, ip) in [(&v4, 20), (&v6, 40)] {
        let Some(said) = said else { continue };
        let answer = &said.bytes()[link.header.len()..];
        assert_eq!(answer.len(), ip + 20);
        check_sums(answer, 6);
        let segment = &answer[ip..];
        assert_eq!((&segment[..2], &segment[2..4]), (&packet[at + 2..at + 4], &packet[at..at + 2]));
        assert!(segment[13] & 4 != 0 && packet[at + 13] & 4 == 0, "a reset, and not for one");
    }
    v4.is_some() || v6.is_some()
}
