//! The tunnel header of a packet for a service, and what is inside by it.

use super::packet::Packet;
use super::{BAD, Opening};
use crate::encap::outer::{IPV4_IN_IP, IPV6_IN_IP, UDP_HEADER};
use crate::encap::{Undecoded, geneve, gre, ipip, vxlan};
use crate::wire::ethernet;

/// What is behind the outer IP header of a tunnel end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Vxlan = 1,
    Geneve,
    GreEthernet,
    GreIp,
    IpIp,
}

const SERVICES: [Service; 5] =
    [Service::Vxlan, Service::Geneve, Service::GreEthernet, Service::GreIp, Service::IpIp];

impl Service {
    /// The service of a number in a table; `None` for 0, which is none.
    pub(super) fn of(number: u64) -> Option<Self> {
        SERVICES.get((number as u8).wrapping_sub(1) as usize).copied()
    }
}

/// What the tunnel header says.
pub(super) struct Header {
    pub(super) id: Option<u32>,
    /// Where the payload begins.
    pub(super) inner: usize,
    /// As [`super::Inner::ip`].
    pub(super) ip: u16,
}

/// Reads the tunnel header of a packet for `service`; also where the payload ends, and whether a checksum covers it.
pub(super) fn decode(
    service: Service,
    data: &[u8],
    packet: &Packet,
) -> Result<(Header, usize, bool), Opening> {
    let (start, end, mut unverified) = match service {
        Service::Vxlan | Service::Geneve => {
            let (end, checksum) = packet.datagram(data)?;
            (packet.l4 + UDP_HEADER, end, checksum)
        }
        Service::GreEthernet | Service::GreIp | Service::IpIp => (packet.l4, packet.end, false),
    };
    let bytes = data.get(start..end.min(data.len())).unwrap_or_default();
    let whole = end <= data.len();
    let undecoded = |why: Undecoded| match why {
        Undecoded::Short if whole => BAD,
        Undecoded::Short => Opening::Split,
        Undecoded::Refused(reason) => Opening::Refused(reason),
    };
    let header = match service {
        Service::Vxlan => {
            let vni = vxlan::decode(bytes).map_err(undecoded)?;
            Header { id: Some(vni), inner: start + vxlan::HEADER, ip: 0 }
        }
        Service::Geneve => {
            let geneve = geneve::decode(bytes, end - start).map_err(undecoded)?;
            Header { id: Some(geneve.vni), inner: start + geneve.length, ip: 0 }
        }
        Service::GreEthernet | Service::GreIp => {
            let gre = gre::decode(bytes).map_err(undecoded)?;
            unverified = gre.checksum;
            let inner = start + gre.length;
            let mut ip = 0;
            if (gre.protocol == geneve::ETHERNET) != (service == Service::GreEthernet) {
                return Err(BAD);
            }
            if service == Service::GreIp {
                ip = ipip::decode(bytes.get(gre.length..).unwrap_or_default()).map_err(undecoded)?;
                if ip != gre.protocol {
                    return Err(BAD);
                }
            }
            Header { id: gre.key, inner, ip }
        }
        Service::IpIp => {
            let ip = ipip::decode(bytes).map_err(undecoded)?;
            let protocol = if ip == ethernet::IPV4 { IPV4_IN_IP } else { IPV6_IN_IP };
            if protocol != packet.protocol {
                return Err(BAD);
            }
            Header { id: None, inner: start, ip }
        }
    };
    Ok((header, end, unverified))
}
