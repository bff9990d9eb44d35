//! The tunnel ends of one IP version as tables: address, protocol and port to a service, its number and that of the network
//! to a binding, binding and source to a peer.

use std::net::IpAddr;

use super::decode::Service;
use super::map::Map;
use super::packet::{Fragment, Packet};
use super::{Opening, Row};
use crate::encap::outer::{GRE, IPV4_IN_IP, IPV6_IN_IP};
use crate::encap::{Encap, Payload, geneve};
use crate::wire::protocol::UDP;

/// Bit of a row of `networks`.
pub(super) const ZERO_CHECKSUM: u64 = 1 << 16;
/// Bit of a row of `peers`, which would be 0 without.
const PEER: u64 = 1 << 16;

/// The ends of one IP version.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends {
    /// Our address → its number.
    locals: Map,
    /// Number of our address, protocol, port → service and the service's own number.
    services: Map,
    /// Service, VNI or key → binding and marks.
    pub(super) networks: Map,
    /// Source address → its number.
    remotes: Map,
    /// Binding, number of the source → peer.
    pub(super) peers: Map,
}

impl Ends {
    pub(super) fn build<'r>(rows: impl Iterator<Item = &'r Row> + Clone) -> Self {
        let v6 = rows.clone().any(|row| row.local.is_ipv6());
        let same = |address: &IpAddr| address.is_ipv6() == v6;
        let mut ends = Self::default();
        if v6 {
            // An address of 128 bits and more beside it is too long for a key, so each gets a number.
            let peers = || rows.clone().flat_map(|row| row.peers.iter().map(|(address, _)| *address));
            ends.locals = numbers(rows.clone().map(|row| row.local));
            ends.remotes = numbers(peers().filter(same));
        }
        let mut services = Vec::new();
        for row in rows.clone() {
            let local = ends.local(v6, bits(row.local));
            let (kind, claims) = claims(row);
            for (protocol, port) in claims {
                // Its own number tells the networks of two ends apart.
                let value = (services.len() as u64 + 1) << 8 | kind as u64;
                services.push((service_key(local, protocol, port), value));
            }
        }
        ends.services = Map::build(&services);
        let (mut networks, mut peers) = (Vec::new(), Vec::new());
        for row in rows {
            let local = ends.local(v6, bits(row.local));
            let (kind, claims) = claims(row);
            let id = match row.encap {
                Encap::Vxlan { vni } | Encap::Geneve { vni, .. } => Some(vni),
                Encap::Gre { key, .. } => key,
                Encap::IpIp => None,
            };
            for (protocol, port) in claims {
                let service = ends.service(local, protocol, port);
                let marks = if row.zero_checksum { ZERO_CHECKSUM } else { 0 };
                if service as u8 == kind as u8 && row.binding != 0 {
                    networks.push((network_key(service, id), u64::from(row.binding) | marks));
                }
            }
            for (address, peer) in row.peers.iter().filter(|(address, _)| same(address)) {
                let source = ends.remote(v6, bits(*address));
                peers.push((peer_key(row.binding, source), u64::from(*peer) | PEER));
            }
        }
        ends.networks = Map::build(&networks);
        ends.peers = Map::build(&peers);
        ends
    }

    /// Number of one of our addresses; 0 when it is none.
    #[inline]
    pub(super) fn local(&self, v6: bool, address: u128) -> u64 {
        if v6 { self.locals.get(address) } else { address as u64 }
    }

    /// Number of a source address; 0 when nobody has it.
    #[inline]
    fn remote(&self, v6: bool, address: u128) -> u64 {
        if v6 { self.remotes.get(address) } else { address as u64 }
    }

    #[inline]
    pub(super) fn peer(&self, v6: bool, binding: u16, source: u128) -> u64 {
        match self.remote(v6, source) {
            0 => 0,
            source => self.peers.get(peer_key(binding, source)),
        }
    }

    #[inline]
    pub(super) fn service(&self, local: u64, protocol: u8, port: u16) -> u64 {
        self.services.get(service_key(local, protocol, port))
    }

    /// The service that a packet to our address asks for.
    pub(super) fn find(
        &self,
        data: &[u8],
        packet: &Packet,
        local: u64,
    ) -> Result<Option<(Service, u64)>, Opening> {
        let port = match packet.protocol {
            // Later fragments do not say to which port they go, so they cannot be told from other traffic.
            UDP if packet.fragment == Fragment::Later => return Ok(None),
            UDP => packet.udp_port(data)?,
            GRE if packet.fragment == Fragment::Later => 0,
            GRE => packet.gre_port(data)?,
            _ => 0,
        };
        let mut found = self.service(local, packet.protocol, port);
        if found == 0 && packet.protocol == GRE {
            // To be refused with a reason: GRE of a payload, or a fragment of it, that no network here has.
            found = self.service(local, GRE, geneve::ETHERNET);
            found = if found == 0 { self.service(local, GRE, 0) } else { found };
        }
        Ok(Service::of(found).map(|service| (service, found)))
    }
}

/// The service of a row, and the protocols and ports it answers to. Of GRE, the port is `packet`'s `gre_port`.
fn claims(row: &Row) -> (Service, Vec<(u8, u16)>) {
    match row.encap {
        Encap::Vxlan { .. } => (Service::Vxlan, vec![(UDP, row.port)]),
        Encap::Geneve { .. } => (Service::Geneve, vec![(UDP, row.port)]),
        Encap::Gre { payload: Payload::Ethernet, .. } => {
            (Service::GreEthernet, vec![(GRE, geneve::ETHERNET)])
        }
        Encap::Gre { payload: Payload::Ip, .. } => (Service::GreIp, vec![(GRE, 0)]),
        Encap::IpIp => (Service::IpIp, vec![(IPV4_IN_IP, 0), (IPV6_IN_IP, 0)]),
    }
}

#[inline(always)]
fn service_key(local: u64, protocol: u8, port: u16) -> u128 {
    u128::from(local << 24 | u64::from(protocol) << 16 | u64::from(port))
}

/// `service` has at most 24 bits: its number and kind.
#[inline(always)]
pub(super) fn network_key(service: u64, id: Option<u32>) -> u128 {
    let id = id.map_or(0, |id| 1 << 32 | u64::from(id));
    u128::from(service << 33 | id)
}

/// `source` has at most 32 bits.
#[inline(always)]
pub(super) fn peer_key(binding: u16, source: u64) -> u128 {
    u128::from(u64::from(binding) << 32 | source)
}

/// Numbers addresses from 1.
fn numbers(addresses: impl Iterator<Item = IpAddr>) -> Map {
    let rows: Vec<_> = addresses.zip(1..).map(|(address, number)| (bits(address), number)).collect();
    Map::build(&rows)
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
