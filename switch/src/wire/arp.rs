//! ARP for IPv4 over Ethernet (RFC 826): reading a message, making a request, answering one.

use std::net::Ipv4Addr;

use super::ethernet::{self, Mac};

/// Bytes of an ARP frame: Ethernet header and the 28 bytes of the message.
pub const FRAME: usize = ethernet::HEADER + 28;

/// Hardware type Ethernet, protocol type IPv4, their address lengths.
const PREFIX: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What the sender wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's hardware address.
    pub sender_mac: Mac,
    /// Sender's protocol address.
    pub sender_ip: Ipv4Addr,
    /// Target's protocol address.
    pub target_ip: Ipv4Addr,
}

/// Reads an ARP message from a frame whose EtherType is ARP; `None` for anything but Ethernet and IPv4.
pub fn parse(frame: &[u8]) -> Option<Message> {
    let message: &[u8; 28] = frame.get(ethernet::HEADER..)?.first_chunk()?;
    if message[..6] != PREFIX {
        return None;
    }
    let operation = match message[6..8] {
        [0, 1] => Operation::Request,
        [0, 2] => Operation::Reply,
        _ => return None,
    };
    let ip = |at: usize| Ipv4Addr::new(message[at], message[at + 1], message[at + 2], message[at + 3]);
    Some(Message {
        operation,
        sender_mac: Mac::from_bytes(*message[8..].first_chunk()?),
        sender_ip: ip(14),
        target_ip: ip(24),
    })
}

/// The reply to `request` that says "`mac` has the target address".
pub fn reply(mac: Mac, request: &Message) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    ethernet::set_addresses(&mut frame, request.sender_mac, mac);
    frame[12..14].copy_from_slice(&ethernet::ARP.to_be_bytes());
    frame[14..20].copy_from_slice(&PREFIX);
    frame[21] = 2;
    frame[22..28].copy_from_slice(&mac.bytes());
    frame[28..32].copy_from_slice(&request.target_ip.octets());
    frame[32..38].copy_from_slice(&request.sender_mac.bytes());
    frame[38..42].copy_from_slice(&request.sender_ip.octets());
    frame
}

/// The broadcast request "who has `target`?" from `mac` and `ip`.
pub fn request(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr) -> [u8; FRAME] {
    let mut frame = [0; FRAME];
    ethernet::set_addresses(&mut frame, Mac::BROADCAST, mac);
    frame[12..14].copy_from_slice(&ethernet::ARP.to_be_bytes());
    frame[14..20].copy_from_slice(&PREFIX);
    frame[21] = 1;
    frame[22..28].copy_from_slice(&mac.bytes());
    frame[28..32].copy_from_slice(&ip.octets());
    frame[38..42].copy_from_slice(&target.octets());
    frame
}

/// The announcement "`ip` is at `mac`" to everybody: a request for one's own address (RFC 5227 section 2.3).
pub fn announcement(mac: Mac, ip: Ipv4Addr) -> [u8; FRAME] {
    request(mac, ip, ip)
}

/// The request to `neighbor` alone whether it still has `target` (RFC 1122 section 2.3.2.1, unicast poll).
pub fn probe(mac: Mac, ip: Ipv4Addr, target: Ipv4Addr, neighbor: Mac) -> [u8; FRAME] {
    let mut frame = request(mac, ip, target);
    ethernet::set_addresses(&mut frame, neighbor, mac);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKER: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 1]);
    const OWNER: Mac = Mac::from_bytes([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_request_gets_its_reply() {
        let (asker, owner) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let frame = request(ASKER, asker, owner);
        let read = parse(&frame).unwrap();
        assert_eq!(
            read,
            Message { operation: Operation::Request, sender_mac: ASKER, sender_ip: asker, target_ip: owner }
        );

        let frame = reply(OWNER, &read);
        let read = parse(&frame).unwrap();
        assert_eq!(
            read,
            Message { operation: Operation::Reply, sender_mac: OWNER, sender_ip: owner, target_ip: asker }
        );
        let header = ethernet::parse(&frame).unwrap();
        assert_eq!((header.dst, header.src), (ASKER, OWNER));
        assert_eq!(frame[32..38], ASKER.bytes());
    }

    #[test]
    fn an_announcement_asks_for_its_own_address_and_a_probe_asks_one_station() {
        let (ip, other) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let said = announcement(OWNER, ip);
        let header = ethernet::parse(&said).unwrap();
        assert_eq!((header.dst, header.src), (Mac::BROADCAST, OWNER));
        let read = parse(&said).unwrap();
        assert_eq!((read.operation, read.sender_ip, read.target_ip), (Operation::Request, ip, ip));
        let asked = probe(OWNER, ip, other, ASKER);
        assert_eq!(ethernet::parse(&asked).map(|header| header.dst), Some(ASKER));
        assert_eq!(parse(&asked).map(|message| message.target_ip), Some(other));
    }

    #[test]
    fn short_and_foreign_messages_are_nothing() {
        let frame = request(ASKER, Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST);
        for length in 0..FRAME {
            assert_eq!(parse(&frame[..length]), None);
        }
        let mut token_ring = frame;
        token_ring[15] = 6;
        assert_eq!(parse(&token_ring), None);
    }
}
