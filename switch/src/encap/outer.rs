//! The headers between which a tunnel header stands: Ethernet with or without a tag, IPv4 or IPv6, UDP.

use std::net::IpAddr;

use super::template::{Parts, Template, TemplateError, Version};
use super::{Payload, ecn};
use crate::wire::ethernet::{self, Mac};
use crate::wire::protocol::UDP;

/// Bytes of an IPv4 header without options.
pub const IPV4: usize = 20;
/// Bytes of the fixed IPv6 header.
pub const IPV6: usize = 40;
/// Bytes of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Protocol number of IPv4 in IP (RFC 2003 section 3.1).
pub const IPV4_IN_IP: u8 = 4;
/// Protocol number of IPv6 in IP (RFC 2473 section 3).
pub const IPV6_IN_IP: u8 = 41;
/// Protocol number of GRE (RFC 2784 section 2.6).
pub const GRE: u8 = 47;

/// "Do not fragment" (RFC 791 section 3.1): the overlay's MTU keeps the packets small enough.
const WHOLE: [u8; 2] = [0x40, 0];

/// Where the outer DSCP comes from (RFC 2983).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dscp {
    /// The inner packet; 0 for what is not IP.
    Inherit,
    /// This one, 0 to 63.
    Fixed(u8),
}

/// VLAN tag of the outer frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Tag control information: priority and VLAN.
    pub tci: u16,
    /// 802.1ad (TPID 0x88a8) instead of 802.1Q.
    pub service: bool,
}

/// The two ends of a tunnel and how packets travel between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outer {
    /// MAC address of the next hop.
    pub dst: Mac,
    /// Our own in the transport network.
    pub src: Mac,
    /// Tag of the outer frame. A tag that the egress port pushes anyway does not belong here.
    pub tag: Option<Tag>,
    /// Our tunnel end.
    pub local: IpAddr,
    /// The peer's.
    pub remote: IpAddr,
    /// TTL or hop limit of the outer packet.
    pub ttl: u8,
    /// DSCP of the outer packet.
    pub dscp: Dscp,
    /// UDP destination port; of no meaning for GRE and IP in IP.
    pub port: u16,
    /// Send UDP checksums. They cost a pass over the packet.
    pub udp_checksum: bool,
}

impl Outer {
    /// TTL of outer packets, as Linux has it by default for its own packets (`net.ipv4.ip_default_ttl`).
    pub const TTL: u8 = 64;

    /// Headers with UDP and the tunnel's own `header` behind it.
    pub(super) fn over_udp(&self, header: &[u8]) -> Result<Template, TemplateError> {
        let [a, b] = self.port.to_be_bytes();
        let udp = [0, 0, a, b, 0, 0, 0, 0];
        self.template(UDP, &[&udp, header].concat(), Payload::Ethernet, Version::None)
    }

    /// Headers with `behind` directly behind IP.
    pub(super) fn template(
        &self,
        protocol: u8,
        behind: &[u8],
        payload: Payload,
        version: Version,
    ) -> Result<Template, TemplateError> {
        let (dscp, inherited) = match self.dscp {
            Dscp::Inherit => (0, 0xff),
            // ECN always comes from the inner packet.
            Dscp::Fixed(dscp) if dscp < 64 => (dscp << 2, ecn::FIELD),
            Dscp::Fixed(dscp) => return Err(TemplateError::Dscp(dscp)),
        };
        let (ip, ethertype) = match (self.local, self.remote) {
            (IpAddr::V4(local), IpAddr::V4(remote)) => {
                let mut ip = vec![0x45, dscp, 0, 0, 0, 0, WHOLE[0], WHOLE[1], self.ttl, protocol, 0, 0];
                ip.extend([local.octets(), remote.octets()].concat());
                (ip, ethernet::IPV4)
            }
            (IpAddr::V6(local), IpAddr::V6(remote)) => {
                let mut ip = vec![0x60 | dscp >> 4, dscp << 4, 0, 0, 0, 0, protocol, self.ttl];
                ip.extend([local.octets(), remote.octets()].concat());
                (ip, ethernet::IPV6)
            }
            _ => return Err(TemplateError::Families),
        };
        let mut link = [self.dst.bytes(), self.src.bytes()].concat();
        if let Some(tag) = self.tag {
            link.extend(if tag.service { [0x88, 0xa8] } else { [0x81, 0x00] });
            link.extend(tag.tci.to_be_bytes());
        }
        link.extend(ethertype.to_be_bytes());
        Template::new(&Parts {
            link: &link,
            ip: &ip,
            behind,
            udp: protocol == UDP,
            udp_checksum: self.udp_checksum && protocol == UDP,
            inherited,
            payload,
            version,
        })
    }
}
