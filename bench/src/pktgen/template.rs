//! Frames prepared once and patched for each flow: addresses, ports and stamp change, everything else is copied as it is.
//!
//! Checksums are right in every frame, so that receivers that check them take it: the sum of what does not change is made
//! once, the words that do change are added (RFC 1071: the sum does not depend on the order of its words).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

use super::stamp::{self, Stamp};

/// Bytes of the frame check sequence, which sizes include and frames here do not.
pub const FCS: usize = 4;
/// Shortest frame on a wire, with its checksum.
pub const SHORTEST: usize = 64;
const ETHERTYPE_VLAN: u16 = 0x8100;

/// What is inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// UDP over IPv4.
    Udp4,
    /// TCP over IPv4: segments of an established connection.
    Tcp4,
    /// ICMP echo requests.
    Icmp4,
    /// UDP over IPv6.
    Udp6,
    /// TCP over IPv6.
    Tcp6,
    /// ICMPv6 echo requests.
    Icmp6,
}

impl Protocol {
    fn is_v6(self) -> bool {
        matches!(self, Self::Udp6 | Self::Tcp6 | Self::Icmp6)
    }

    fn number(self) -> u8 {
        match self {
            Self::Udp4 | Self::Udp6 => 17,
            Self::Tcp4 | Self::Tcp6 => 6,
            Self::Icmp4 => 1,
            Self::Icmp6 => 58,
        }
    }

    fn header(self) -> usize {
        if matches!(self, Self::Tcp4 | Self::Tcp6) { 20 } else { 8 }
    }

    /// Offsets in the header: of the two 16-bit values that tell flows apart, and of the checksum.
    fn fields(self) -> (usize, usize) {
        match self {
            Self::Udp4 | Self::Udp6 => (0, 6),
            Self::Tcp4 | Self::Tcp6 => (0, 16),
            Self::Icmp4 | Self::Icmp6 => (4, 2),
        }
    }
}

/// Addresses that all frames share, and those that flows count up from.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source over IPv4.
    pub source4: Ipv4Addr,
    /// First destination over IPv4.
    pub destination4: Ipv4Addr,
    /// Source over IPv6.
    pub source6: Ipv6Addr,
    /// First destination over IPv6.
    pub destination6: Ipv6Addr,
    /// VLAN tag of all frames.
    pub vlan: Option<u16>,
}

/// What tells a flow from others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Added to the destination address.
    pub host: u32,
    /// Source port; identifier of an echo request.
    pub source: u16,
    /// Destination port; sequence number of an echo request.
    pub destination: u16,
}

/// A frame of one size and protocol.
#[derive(Clone, Debug)]
pub struct Template {
    bytes: Vec<u8>,
    l3: usize,
    l4: usize,
    protocol: Protocol,
    /// Last 32 bits of the first destination address.
    destination: u32,
    /// Sum of the IPv4 header without destination and checksum.
    ip_sum: u32,
    /// Sum of pseudo-header, header and payload without what is patched.
    l4_sum: u32,
}

impl Template {
    /// A frame of `size` bytes with its checksum, or of as many more as headers and stamp need.
    pub fn new(size: usize, protocol: Protocol, ends: &Ends) -> Self {
        let l3 = 14 + if ends.vlan.is_some() { 4 } else { 0 };
        let l4 = l3 + if protocol.is_v6() { 40 } else { 20 };
        let least = (l4 + protocol.header() + stamp::LENGTH).max(SHORTEST - FCS);
        let length = size.saturating_sub(FCS).max(least);
        let mut template =
            Self { bytes: vec![0; length], l3, l4, protocol, destination: 0, ip_sum: 0, l4_sum: 0 };
        template.ethernet(ends);
        if protocol.is_v6() {
            template.ipv6(ends)
        } else {
            template.ipv4(ends)
        }
        template.transport();
        template
    }

    /// The frame before it is patched.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes with the checksum of the wire.
    pub fn size(&self) -> usize {
        self.bytes.len() + FCS
    }

    fn ethernet(&mut self, ends: &Ends) {
        let kind: u16 = if self.protocol.is_v6() { 0x86dd } else { 0x0800 };
        self.bytes[..6].copy_from_slice(&ends.destination_mac);
        self.bytes[6..12].copy_from_slice(&ends.source_mac);
        if let Some(vlan) = ends.vlan {
            self.bytes[12..14].copy_from_slice(&ETHERTYPE_VLAN.to_be_bytes());
            self.bytes[14..16].copy_from_slice(&vlan.to_be_bytes());
        }
        self.bytes[self.l3 - 2..self.l3].copy_from_slice(&kind.to_be_bytes());
    }

    fn ipv4(&mut self, ends: &Ends) {
        let length = (self.bytes.len() - self.l3) as u16;
        let ip = &mut self.bytes[self.l3..self.l4];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        ip[6] = 0x40; // do not fragment
        ip[8] = 64;
        ip[9] = self.protocol.number();
        ip[12..16].copy_from_slice(&ends.source4.octets());
        self.destination = u32::from(ends.destination4);
        self.ip_sum = sum(ip);
        if self.protocol != Protocol::Icmp4 {
            self.l4_sum = sum(&ip[12..16]) + self.pseudo();
        }
    }

    fn ipv6(&mut self, ends: &Ends) {
        let length = (self.bytes.len() - self.l4) as u16;
        let ip = &mut self.bytes[self.l3..self.l4];
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&length.to_be_bytes());
        ip[6] = self.protocol.number();
        ip[7] = 64;
        ip[8..24].copy_from_slice(&ends.source6.octets());
        let destination = ends.destination6.octets();
        ip[24..36].copy_from_slice(&destination[..12]);
        self.destination =
            u32::from_be_bytes([destination[12], destination[13], destination[14], destination[15]]);
        self.l4_sum = sum(&ip[8..36]) + self.pseudo();
    }

    /// Protocol and length, as pseudo-headers of both versions have them.
    fn pseudo(&self) -> u32 {
        u32::from(self.protocol.number()) + (self.bytes.len() - self.l4) as u32
    }

    fn transport(&mut self) {
        let length = (self.bytes.len() - self.l4) as u16;
        let header = &mut self.bytes[self.l4..];
        match self.protocol {
            Protocol::Udp4 | Protocol::Udp6 => header[4..6].copy_from_slice(&length.to_be_bytes()),
            Protocol::Tcp4 | Protocol::Tcp6 => {
                header[12] = 5 << 4;
                header[13] = 0x10; // ACK
                header[14..16].copy_from_slice(&0xffff_u16.to_be_bytes());
            }
            Protocol::Icmp4 => header[0] = 8,
            Protocol::Icmp6 => header[0] = 128,
        }
        self.l4_sum = fold(self.l4_sum) + fold(sum(header));
    }

    /// Makes `frame`, a copy of [`Template::bytes`], the frame of a flow, with a stamp at its end.
    #[inline]
    pub fn patch(&self, frame: &mut [u8], flow: Flow, stamp: Stamp) {
        let end = frame.len() - stamp::LENGTH;
        frame[end..].copy_from_slice(&stamp.bytes());
        let address = self.destination.wrapping_add(flow.host);
        frame[self.l4 - 4..self.l4].copy_from_slice(&address.to_be_bytes());
        let (ports, checksum) = self.protocol.fields();
        let address_sum = (address >> 16) + (address & 0xffff);
        if !self.protocol.is_v6() {
            let whole = fold(self.ip_sum + address_sum);
            frame[self.l3 + 10..self.l3 + 12].copy_from_slice(&(!(whole as u16)).to_be_bytes());
        }
        let at = self.l4 + ports;
        let both = u32::from(flow.source) << 16 | u32::from(flow.destination);
        frame[at..at + 4].copy_from_slice(&both.to_be_bytes());
        let mut stamp_sum = fold(stamp.sum());
        if !(end - self.l4).is_multiple_of(2) {
            // The stamp begins in the middle of a word.
            stamp_sum = u32::from((stamp_sum as u16).swap_bytes());
        }
        let mut whole = self.l4_sum + stamp_sum + u32::from(flow.source) + u32::from(flow.destination);
        if self.protocol != Protocol::Icmp4 {
            whole += address_sum;
        }
        let mut checked = !(fold(whole) as u16);
        // RFC 768: an absent checksum is 0, one that is 0 is sent as its complement.
        if checked == 0 && self.protocol.number() == 17 {
            checked = 0xffff;
        }
        let at = self.l4 + checksum;
        frame[at..at + 2].copy_from_slice(&checked.to_be_bytes());
    }
}

/// Sum of 16-bit words, not folded; at most 64 KiB.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0))).sum()
}

/// To 16 bits, carries added.
#[inline]
fn fold(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

#[cfg(test)]
mod tests;
