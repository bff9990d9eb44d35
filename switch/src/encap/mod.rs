//! Encapsulations: the headers in front of a frame that goes to another node, and reading them where one comes in.
//!
//! Pure functions on bytes; nothing here knows the topology. Each encapsulation is one file with a builder of a
//! [`Template`] and a decoder.
//!
//! | file | holds |
//! |---|---|
//! | [`vxlan`], [`geneve`], [`gre`], [`ipip`] | what is behind the outer IP header |
//! | [`outer`] | Ethernet, IP and UDP in front of it: [`Outer`] to [`Template`] |
//! | [`template`] | prebuilt headers and how they are put in front of a frame, with offload state and ECN |
//! | [`terminator`] | is this packet of a tunnel of ours, of which network, from which peer: [`Terminator`] |
//! | [`mod@decapsulate`] | taking the outer headers off |
//! | [`train`] | large sends through a tunnel without a frame for each piece |
//! | [`entropy`] | what tells the flows of a tunnel apart on the way |
//! | [`ecn`] | congestion marks, both ways (RFC 6040) |
//!
//! Out: the next-hop stage knows the peer, the topology the template; [`Template::push`] is run by `flow::execute`. In:
//! the parser pass asks [`Terminator::open`] for what is sent to the switch's own MAC address, and parses the inner frame.

pub mod decapsulate;
pub mod ecn;
pub mod entropy;
pub mod geneve;
pub mod gre;
pub mod ipip;
pub mod outer;
pub mod template;
pub mod terminator;
pub mod train;
pub mod vxlan;

pub use decapsulate::decapsulate;
pub use entropy::Entropy;
pub use outer::{Dscp, Outer, Tag};
pub use template::{Template, TemplateError};
pub use terminator::{Inner, Opening, Terminator};

use crate::drop::DropReason;
use crate::wire::ethernet;

/// What a tunnel carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Payload {
    /// Ethernet frames.
    #[default]
    Ethernet,
    /// IP packets, without an Ethernet header.
    Ip,
}

/// Which tunnel header, and the number of the network in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encap {
    /// VXLAN (RFC 7348).
    Vxlan {
        /// Network identifier, 1 to 2^24 - 1.
        vni: u32,
    },
    /// Geneve (RFC 8926) with Ethernet frames.
    Geneve {
        /// Network identifier, 1 to 2^24 - 1.
        vni: u32,
        /// Value of OVN's option, when it is to be sent: see [`geneve::ovn`]. On receipt it is accepted either way.
        ovn: Option<u32>,
    },
    /// GRE (RFC 2784, RFC 2890).
    Gre {
        /// The key, if there is one.
        key: Option<u32>,
        /// What it carries.
        payload: Payload,
    },
    /// IP in IP (RFC 2003, RFC 2473): either version in either.
    IpIp,
}

impl Encap {
    /// What it carries.
    pub const fn payload(self) -> Payload {
        match self {
            Self::Vxlan { .. } | Self::Geneve { .. } => Payload::Ethernet,
            Self::Gre { payload, .. } => payload,
            Self::IpIp => Payload::Ip,
        }
    }

    /// Bytes between the start of the outer and of the inner IP packet: what the MTU of the overlay is smaller than that of
    /// the transport (VXLAN over IPv4: 50).
    pub const fn overhead(self, ipv6: bool) -> u16 {
        let header = match self {
            Self::Vxlan { .. } | Self::Geneve { ovn: None, .. } => 16,
            Self::Geneve { ovn: Some(_), .. } => 16 + geneve::OVN_OPTION as u16,
            Self::Gre { key, .. } => 4 + if key.is_some() { 4 } else { 0 },
            Self::IpIp => 0,
        };
        let link = match self.payload() {
            Payload::Ethernet => ethernet::HEADER as u16,
            Payload::Ip => 0,
        };
        header + link + if ipv6 { outer::IPV6 as u16 } else { outer::IPV4 as u16 }
    }

    /// The UDP port that the RFC gives it, if it is one over UDP.
    pub const fn udp_port(self) -> Option<u16> {
        match self {
            Self::Vxlan { .. } => Some(vxlan::PORT),
            Self::Geneve { .. } => Some(geneve::PORT),
            Self::Gre { .. } | Self::IpIp => None,
        }
    }

    /// The headers of a tunnel between the ends that `outer` names.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn template(self, outer: &Outer) -> Result<Template, TemplateError> {
        match self {
            Self::Vxlan { vni } => vxlan::template(outer, vni),
            Self::Geneve { vni, ovn } => geneve::template(outer, vni, ovn),
            Self::Gre { key, payload } => gre::template(outer, key, payload),
            Self::IpIp => ipip::template(outer),
        }
    }
}

/// Why a decoder has nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecoded {
    /// The header goes on behind the bytes at hand.
    Short,
    /// The packet is to be dropped.
    Refused(DropReason),
}

impl Undecoded {
    /// A header that is not as its standard says.
    pub(crate) const BAD: Self = Self::Refused(DropReason::TunnelBadHeader);
}

/// A network identifier as its three bytes.
///
/// # Errors
/// [`TemplateError::Vni`] when it is 0 or does not fit.
fn vni_bytes(vni: u32) -> Result<[u8; 3], TemplateError> {
    match vni.to_be_bytes() {
        [0, a, b, c] if vni != 0 => Ok([a, b, c]),
        _ => Err(TemplateError::Vni(vni)),
    }
}

#[cfg(test)]
mod tests;
