//! Echo requests of the switch's own (RFC 792, RFC 4443 section 4) and what comes back to them, by `smoltcp`.
//!
//! [`request`] and [`heard`] are for the control thread. [`concerns`] is asked by a worker of a packet for the switch itself
//! while somebody pings, and reads fixed places only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet,
    Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
};

use super::ethernet::{self, Mac};
use super::protocol::{ICMP, ICMPV6};

/// Most data bytes of a request: no network is narrower than this needs (RFC 791's 576 bytes apart, where it is fragmented).
pub const MOST_DATA: usize = 1400;
/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;
const IPV4: usize = 20;
const IPV6: usize = 40;
/// One more than what is to be on the wire: the router takes one off.
const TTL: u8 = 65;

/// A request to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// Tells our requests from those of others.
    pub ident: u16,
    /// Its number.
    pub seq: u16,
    /// An address of the switch.
    pub source: IpAddr,
    /// Who is asked.
    pub target: IpAddr,
    /// Data bytes, at most [`MOST_DATA`].
    pub size: usize,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Identifier of the request.
    pub ident: u16,
    /// Its number.
    pub seq: u16,
    /// Who says so.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// TTL or hop limit as it came.
    pub ttl: u8,
    /// Bytes of the ICMP message.
    pub length: usize,
    /// That it cannot be answered, and why; `None` for the answer.
    pub error: Option<String>,
}

/// The frame with a request, from and to the router's address `mac`, as a station would send it. `None` when the addresses are
/// not of one family or there is too much data.
pub fn request(echo: &Echo, mac: Mac) -> Option<Vec<u8>> {
    if echo.size > MOST_DATA {
        return None;
    }
    let caps = ChecksumCapabilities::default();
    // As ping(8): the bytes count up.
    let data: Vec<u8> = (0..echo.size).map(|at| at as u8).collect();
    let (ident, seq_no) = (echo.ident, echo.seq);
    let address = EthernetAddress(mac.bytes());
    let link = |ethertype| EthernetRepr { src_addr: address, dst_addr: address, ethertype };
    let length = HEADER + data.len();
    match (echo.source, echo.target) {
        (IpAddr::V4(src_addr), IpAddr::V4(dst_addr)) => {
            let mut frame = vec![0; ethernet::HEADER + IPV4 + length];
            link(EthernetProtocol::Ipv4).emit(&mut EthernetFrame::new_unchecked(&mut frame));
            let next_header = IpProtocol::Icmp;
            let header = Ipv4Repr { src_addr, dst_addr, next_header, payload_len: length, hop_limit: TTL };
            let (_, packet) = frame.split_at_mut(ethernet::HEADER);
            header.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &caps);
            let (_, message) = packet.split_at_mut(IPV4);
            let message = &mut Icmpv4Packet::new_unchecked(message);
            Icmpv4Repr::EchoRequest { ident, seq_no, data: &data }.emit(message, &caps);
            Some(frame)
        }
        (IpAddr::V6(src_addr), IpAddr::V6(dst_addr)) => {
            let mut frame = vec![0; ethernet::HEADER + IPV6 + length];
            link(EthernetProtocol::Ipv6).emit(&mut EthernetFrame::new_unchecked(&mut frame));
            let next_header = IpProtocol::Icmpv6;
            let header = Ipv6Repr { src_addr, dst_addr, next_header, payload_len: length, hop_limit: TTL };
            let (_, packet) = frame.split_at_mut(ethernet::HEADER);
            header.emit(&mut Ipv6Packet::new_unchecked(&mut *packet));
            let (_, message) = packet.split_at_mut(IPV6);
            let message = &mut Icmpv6Packet::new_unchecked(message);
            Icmpv6Repr::EchoRequest { ident, seq_no, data: &data }.emit(&src_addr, &dst_addr, message, &caps);
            Some(frame)
        }
        _ => None,
    }
}

/// The EtherType behind up to two tags, and the packet.
fn packet(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = 12;
    for _ in 0..3 {
        let ethertype = u16::from_be_bytes(*frame.get(at..)?.first_chunk()?);
        if ![ethernet::CUSTOMER_TAG, ethernet::SERVICE_TAG].contains(&ethertype) {
            return Some((ethertype, frame.get(at + 2..)?));
        }
        at += 4;
    }
    None
}

/// True when `frame` is an echo reply with the identifier `ident`, or an error about a request with it. What is not so long
/// as it says may be taken for one: [`heard`] tells.
pub fn concerns(frame: &[u8], ident: u16) -> bool {
    concerned(frame).is_some_and(|found| found == ident)
}

fn concerned(frame: &[u8]) -> Option<u16> {
    let ident = |message: &[u8]| Some(u16::from_be_bytes(*message.get(4..)?.first_chunk()?));
    let behind = |packet: &'_ [u8]| usize::from(packet.first().copied().unwrap_or_default() & 0x0f) * 4;
    let (ethertype, packet) = packet(frame)?;
    match ethertype {
        ethernet::IPV4 if *packet.get(9)? == ICMP => {
            let message = packet.get(behind(packet)..)?;
            match *message.first()? {
                0 => ident(message),
                3 | 11 | 12 => {
                    let quoted = message.get(HEADER..)?;
                    let request = quoted.get(behind(quoted)..)?;
                    (*quoted.get(9)? == ICMP && *request.first()? == 8).then(|| ident(request))?
                }
                _ => None,
            }
        }
        ethernet::IPV6 if *packet.get(6)? == ICMPV6 => {
            let message = packet.get(IPV6..)?;
            match *message.first()? {
                129 => ident(message),
                1..=4 => {
                    let quoted = message.get(HEADER..)?;
                    let request = quoted.get(IPV6..)?;
                    (*quoted.get(6)? == ICMPV6 && *request.first()? == 128).then(|| ident(request))?
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Reads what [`concerns`] us; `None` when it is not sound.
pub fn heard(frame: &[u8]) -> Option<Heard> {
    let caps = ChecksumCapabilities::default();
    let (ethertype, bytes) = packet(frame)?;
    match ethertype {
        ethernet::IPV4 => {
            let packet = Ipv4Packet::new_checked(bytes).ok()?;
            let header =
                Ipv4Repr::parse(&packet, &caps).ok().filter(|it| it.next_header == IpProtocol::Icmp)?;
            let message = Icmpv4Packet::new_checked(packet.payload()).ok()?;
            let (from, to): (Ipv4Addr, Ipv4Addr) = (header.src_addr, header.dst_addr);
            let common = |ident, seq, error| Heard {
                ident,
                seq,
                from: from.into(),
                to: to.into(),
                ttl: header.hop_limit,
                length: packet.payload().len(),
                error,
            };
            match Icmpv4Repr::parse(&message, &caps).ok()? {
                Icmpv4Repr::EchoReply { ident, seq_no, .. } => Some(common(ident, seq_no, None)),
                Icmpv4Repr::DstUnreachable { reason, data, .. } => {
                    let (ident, seq) = quoted(data, 8)?;
                    Some(common(ident, seq, Some(reason.to_string())))
                }
                Icmpv4Repr::TimeExceeded { data, .. } => {
                    let (ident, seq) = quoted(data, 8)?;
                    Some(common(ident, seq, Some("time exceeded".to_owned())))
                }
                _ => None,
            }
        }
        ethernet::IPV6 => {
            let packet = Ipv6Packet::new_checked(bytes).ok()?;
            let header = Ipv6Repr::parse(&packet).ok().filter(|it| it.next_header == IpProtocol::Icmpv6)?;
            let message = Icmpv6Packet::new_checked(packet.payload()).ok()?;
            let (from, to): (Ipv6Addr, Ipv6Addr) = (header.src_addr, header.dst_addr);
            let common = |ident, seq, error| Heard {
                ident,
                seq,
                from: from.into(),
                to: to.into(),
                ttl: header.hop_limit,
                length: packet.payload().len(),
                error,
            };
            match Icmpv6Repr::parse(&from, &to, &message, &caps).ok()? {
                Icmpv6Repr::EchoReply { ident, seq_no, .. } => Some(common(ident, seq_no, None)),
                Icmpv6Repr::DstUnreachable { reason, data, .. } => {
                    let (ident, seq) = quoted(data, 128)?;
                    Some(common(ident, seq, Some(reason.to_string())))
                }
                Icmpv6Repr::PktTooBig { mtu, data, .. } => {
                    let (ident, seq) = quoted(data, 128)?;
                    Some(common(ident, seq, Some(format!("packet too big, the MTU is {mtu}"))))
                }
                Icmpv6Repr::TimeExceeded { data, .. } => {
                    let (ident, seq) = quoted(data, 128)?;
                    Some(common(ident, seq, Some("time exceeded".to_owned())))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Identifier and number of a request that an error quotes.
fn quoted(message: &[u8], kind: u8) -> Option<(u16, u16)> {
    let [found, _, _, _, ident @ .., s0, s1] = message.first_chunk::<HEADER>()?;
    let [i0, i1] = ident.first_chunk()?;
    (*found == kind).then_some((u16::from_be_bytes([*i0, *i1]), u16::from_be_bytes([*s0, *s1])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::icmp;

    const OURS: Mac = Mac(0x0200_0000_fe01);

    fn echo(source: &str, target: &str) -> Echo {
        let (source, target) = (source.parse().unwrap(), target.parse().unwrap());
        Echo { ident: 0x1234, seq: 7, source, target, size: 56 }
    }

    #[test]
    fn a_request_is_answered_and_the_answer_heard() {
        for (source, target, header) in [("10.0.0.254", "10.0.0.2", IPV4), ("fd00::254", "fd00::2", IPV6)] {
            let wanted = echo(source, target);
            let mut frame = request(&wanted, OURS).unwrap();
            assert_eq!(frame.len(), ethernet::HEADER + header + HEADER + 56);
            assert!(!concerns(&frame, 0x1234), "a request is no answer");
            assert_eq!(heard(&frame), None);
            let packet = &mut frame[ethernet::HEADER..];
            if header == IPV4 { icmp::echo_v4(packet) } else { icmp::echo_v6(packet, IPV6) }.unwrap();
            assert!(concerns(&frame, 0x1234) && !concerns(&frame, 0x1235));
            let answer = heard(&frame).unwrap();
            let known =
                (answer.ident, answer.seq, answer.from, answer.to, answer.ttl, answer.error.as_deref());
            assert_eq!(known, (0x1234, 7, wanted.target, wanted.source, 64, None));
            assert_eq!(answer.length, HEADER + 56);

            // Behind a tag, too; and not with a bit of it changed.
            let tagged = [&frame[..12], &[0x81, 0, 0, 5], &frame[12..]].concat();
            assert!(concerns(&tagged, 0x1234) && heard(&tagged).as_ref() == Some(&answer));
            *frame.last_mut().unwrap() ^= 1;
            assert_eq!(heard(&frame), None, "its checksum is wrong");
        }
    }

    #[test]
    fn an_error_about_a_request_is_heard() {
        let wanted = echo("10.0.0.254", "10.9.0.1");
        let frame = request(&wanted, OURS).unwrap();
        let (header, packet) = frame.split_at(ethernet::HEADER);
        let link = icmp::Link { header, to: OURS, from: Mac(0x0200_0000_0001) };
        let ends = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 254));
        let error = icmp::Error::NoHost;
        let error = icmp::error_v4(error, &link, ends, std::iter::once(packet), packet.len()).unwrap();
        assert!(concerns(error.bytes(), 0x1234));
        let told = heard(error.bytes()).unwrap();
        assert_eq!((told.ident, told.seq, told.from), (0x1234, 7, IpAddr::from(ends.0)));
        assert!(told.error.unwrap().contains("host"), "it says what is not reached");
    }

    #[test]
    fn what_is_cut_off_or_of_another_kind_concerns_nobody() {
        let mut frame = request(&echo("10.0.0.254", "10.0.0.2"), OURS).unwrap();
        icmp::echo_v4(&mut frame[ethernet::HEADER..]).unwrap();
        for length in 0..frame.len() {
            let cut = &frame[..length];
            assert_eq!(concerns(cut, 0x1234), length >= ethernet::HEADER + IPV4 + 6, "{length}");
            assert_eq!(heard(cut), None);
        }
        assert!(request(&echo("10.0.0.254", "fd00::1"), OURS).is_none());
        assert!(request(&Echo { size: MOST_DATA + 1, ..echo("10.0.0.254", "10.0.0.2") }, OURS).is_none());
    }
}
