//! Which packets belong to tunnels that end here: of which network, from which peer, and where the inner frame begins.
//!
//! In: a frame whose destination MAC address is the switch's own in the transport network, and where its IP header is. Out:
//! [`Opening`]. Nothing of the frame is changed ([`super::decapsulate()`] does that).
//!
//! A packet for one of our tunnel ends is opened, or refused with a reason, never passed on as ordinary traffic: from a peer
//! that is not known, to a network that is not known, with a header that is not sound (CVE-2020-10136 and its kind).
//! What does not match address, protocol and port of a tunnel is not ours. TTL and UDP source port say nothing.
//!
//! Cost: VXLAN or Geneve without options and checksum over IPv4 is a row of comparisons and two probes of small hash tables.
//! Everything else is one call further, header by header.

mod decode;
mod ends;
mod map;
mod packet;
mod sum;

use std::net::IpAddr;

use shunt_ffi::Mbuf;

use super::{Encap, ecn, geneve, outer, vxlan};
use crate::drop::DropReason;
use crate::wire::ethernet;
use crate::wire::protocol::UDP;
use decode::decode;
use ends::{Ends, ZERO_CHECKSUM, network_key, peer_key};
use packet::Fragment;

/// One tunnel end of one overlay network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Our address.
    pub local: IpAddr,
    /// Tunnel header and number of the network.
    pub encap: Encap,
    /// UDP destination port; of no meaning for GRE and IP in IP.
    pub port: u16,
    /// Accept UDP packets over IPv6 without a checksum (RFC 6935). Over IPv4 they always are.
    pub zero_checksum: bool,
    /// What [`Inner::binding`] will say, not 0.
    pub binding: u16,
    /// Addresses that may send, and what [`Inner::peer`] will say of them. Those of the other IP version are ignored.
    pub peers: Vec<(IpAddr, u16)>,
}

/// What a tunnel packet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// Start of the inner Ethernet frame, or IP packet, in the frame.
    pub offset: u16,
    /// Its length in bytes. What the frame has behind it is not part of it.
    pub length: u16,
    /// The overlay network: [`Row::binding`].
    pub binding: u16,
    /// Who sent it.
    pub peer: u16,
    /// 0 when an Ethernet frame is inside, otherwise the EtherType of the IP packet.
    pub ip: u16,
    /// ECN field of the outer packet.
    pub ecn: u8,
    /// There is a checksum that nobody has verified: see [`Terminator::open_frame`].
    pub unverified: bool,
}

/// What a packet is to the tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Of no tunnel that ends here.
    NotOurs,
    /// A packet for an overlay network.
    Inner(Inner),
    /// To be dropped.
    Refused(DropReason),
    /// Headers go on in the next segment: make them contiguous and ask again.
    Split,
}

/// The end to which nearly all packets go, so that it is compared and not looked up.
#[derive(Clone, Copy, Debug, Default)]
struct Usual {
    local: u32,
    port: u16,
    /// First word of the tunnel header: under the mask it is `value`.
    mask: u32,
    value: u32,
    service: u64,
}

/// All tunnel ends of one transport network. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Terminator {
    /// One bit for each of our IPv4 addresses, by a hash of it: most packets are told apart by it.
    locals: u64,
    usual: Usual,
    any_v6: bool,
    v4: Ends,
    v6: Ends,
}

/// Bytes that the short way looks at: IPv4, UDP, eight bytes of tunnel header.
const USUAL_HEADERS: usize = outer::IPV4 + outer::UDP_HEADER + vxlan::HEADER;
/// Those behind the IP header, and the shortest Ethernet frame.
const USUAL_UDP: u16 = (outer::UDP_HEADER + vxlan::HEADER + ethernet::HEADER) as u16;

impl Terminator {
    /// The tunnel ends of `rows`. Where two of them claim the same packets, the first has them.
    pub fn build(rows: &[Row]) -> Self {
        let of = |v6: bool| rows.iter().filter(move |row| row.local.is_ipv6() == v6);
        let mut terminator = Self {
            locals: 0,
            usual: Usual::default(),
            any_v6: of(true).next().is_some(),
            v4: Ends::build(of(false)),
            v6: Ends::build(of(true)),
        };
        for row in of(false) {
            let IpAddr::V4(local) = row.local else { continue };
            terminator.locals |= bit(local.to_bits());
        }
        // Told apart by the first word: VXLAN's I flag; of Geneve everything but the reserved bits.
        let usual = of(false).find_map(|row| match row.encap {
            Encap::Vxlan { .. } => {
                let flag = u32::from(vxlan::VALID) << 24;
                Some((row, flag, flag))
            }
            Encap::Geneve { .. } => Some((row, 0xffc0_ffff, u32::from(geneve::ETHERNET))),
            Encap::Gre { .. } | Encap::IpIp => None,
        });
        if let Some((&Row { local: IpAddr::V4(local), port, .. }, mask, value)) = usual {
            let service = terminator.v4.service(local.to_bits().into(), UDP, port);
            terminator.usual = Usual { local: local.to_bits(), port, mask, value, service };
        }
        terminator
    }

    /// True when no tunnel ends here.
    pub fn is_empty(&self) -> bool {
        self.locals == 0 && !self.any_v6
    }

    /// What the packet is whose IP header is, right behind its EtherType, at offset `l3` of a frame of `len` bytes, of which `data` are the first.
    ///
    /// A checksum over the packet is not verified: [`Inner::unverified`]. In the data path use [`Terminator::open_frame`].
    #[inline(always)]
    pub fn open(&self, data: &[u8], len: u32, l3: usize) -> Opening {
        if let Some(opening) = self.quickly(data, len, l3) {
            return opening;
        }
        self.open_any(data, len, l3).map_or_else(Opening::from, |(inner, _)| Opening::Inner(inner))
    }

    /// [`Terminator::open`] of a whole frame, with its checksum verified where neither a device nor the local kernel vouches
    /// for it. That costs a pass over the packet; most tunnels send none.
    #[inline(always)]
    pub fn open_frame(&self, frame: &Mbuf, l3: usize) -> Opening {
        if let Some(opening) = self.quickly(frame.data(), frame.len(), l3) {
            return opening;
        }
        self.open_slowly(frame, l3)
    }

    #[inline(never)]
    fn open_slowly(&self, frame: &Mbuf, l3: usize) -> Opening {
        match self.open_any(frame.data(), frame.len(), l3) {
            Err(other) => other,
            Ok((inner, covered)) if !inner.unverified || sum::is_vouched_for(frame, &covered) => {
                Opening::Inner(Inner { unverified: false, ..inner })
            }
            Ok((inner, covered)) if sum::holds(frame, &covered) => {
                Opening::Inner(Inner { unverified: false, ..inner })
            }
            Ok(_) => Opening::Refused(DropReason::TunnelBadChecksum),
        }
    }

    /// The answer for packets that are nothing special: the usual tunnel, or addresses that are not ours.
    #[inline(always)]
    fn quickly(&self, data: &[u8], len: u32, l3: usize) -> Option<Opening> {
        let packet = data.get(l3.checked_sub(2)?..)?;
        let (ethertype, headers) = packet.split_first_chunk::<2>()?;
        let ethertype = u16::from_be_bytes(*ethertype);
        let Some(headers) = headers.first_chunk::<USUAL_HEADERS>() else {
            return if self.is_empty() { Some(Opening::NotOurs) } else { None };
        };
        let word = |at: usize| -> u32 {
            headers.get(at..at + 4).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word))
        };
        if ethertype == ethernet::IPV4 {
            if self.locals & bit(word(16)) == 0 {
                return Some(Opening::NotOurs);
            }
        } else if ethertype != ethernet::IPV6 || !self.any_v6 {
            return Some(Opening::NotOurs);
        }
        let (total, datagram) = (word(0) as u16, (word(24) >> 16) as u16);
        let usual = &self.usual;
        // Version and header length, no fragment, UDP; ours; lengths that agree; no checksum; a plain tunnel header.
        let plain = headers[0] == 0x45
            && word(4) & 0x3fff == 0
            && headers[9] == UDP
            && word(16) == usual.local
            && word(20) as u16 == usual.port
            && u32::from(total) + l3 as u32 == len
            && u32::from(datagram) + outer::IPV4 as u32 == u32::from(total)
            && datagram >= USUAL_UDP
            && word(24) as u16 == 0
            && word(28) & usual.mask == usual.value;
        if !plain {
            return None;
        }
        let network = self.v4.networks.get(network_key(usual.service, Some(word(32) >> 8)));
        let peer = self.v4.peers.get(peer_key(network as u16, word(12).into()));
        if network == 0 || peer == 0 {
            return None;
        }
        let headers = (outer::UDP_HEADER + vxlan::HEADER) as u16;
        Some(Opening::Inner(Inner {
            offset: l3 as u16 + USUAL_HEADERS as u16,
            length: datagram - headers,
            binding: network as u16,
            peer: peer as u16,
            ip: 0,
            ecn: (word(0) >> 16) as u8 & ecn::FIELD,
            unverified: false,
        }))
    }

    /// Header by header; also what a checksum would cover.
    #[inline(never)]
    fn open_any(&self, data: &[u8], len: u32, l3: usize) -> Result<(Inner, sum::Covered), Opening> {
        let packet = packet::packet(data, len, l3)?;
        let ends = if packet.v6 { &self.v6 } else { &self.v4 };
        let local = ends.local(packet.v6, packet.destination);
        let found = if local == 0 { None } else { ends.find(data, &packet, local)? };
        let (service, found) = found.ok_or(Opening::NotOurs)?;
        if packet.fragment != Fragment::Whole {
            return Err(Opening::Refused(DropReason::TunnelFragment));
        }
        let (header, end, unverified) = decode(service, data, &packet)?;
        let network = ends.networks.get(network_key(found, header.id));
        if network == 0 {
            return Err(Opening::Refused(DropReason::TunnelUnknownVni));
        }
        let peer = ends.peer(packet.v6, network as u16, packet.source);
        if peer == 0 {
            return Err(Opening::Refused(DropReason::TunnelUnknownPeer));
        }
        let udp = packet.protocol == UDP;
        if udp && packet.v6 && !unverified && network & ZERO_CHECKSUM == 0 {
            return Err(Opening::Refused(DropReason::TunnelBadChecksum));
        }
        let offset = header.inner;
        let least = if header.ip == 0 { ethernet::HEADER } else { outer::IPV4 };
        let length = end.checked_sub(offset).filter(|length| *length >= least).ok_or(BAD)?;
        let (Ok(offset), Ok(length)) = (u16::try_from(offset), u16::try_from(length)) else {
            return Err(BAD);
        };
        let (binding, peer, ip) = (network as u16, peer as u16, header.ip);
        let inner = Inner { offset, length, binding, peer, ip, ecn: packet.class & ecn::FIELD, unverified };
        let addresses = if packet.v6 { l3 + 8..l3 + 40 } else { l3 + 12..l3 + 20 };
        Ok((inner, sum::Covered { start: packet.l4, end, addresses: udp.then_some(addresses) }))
    }
}

const BAD: Opening = Opening::Refused(DropReason::TunnelBadHeader);

/// One bit of 64 for an IPv4 address.
#[inline(always)]
fn bit(address: u32) -> u64 {
    1 << (address.wrapping_mul(0x9e37_79b1) >> 26)
}

#[cfg(test)]
mod tests;
