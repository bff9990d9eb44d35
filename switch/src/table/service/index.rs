//! From address, protocol and port to the service and its port.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use shunt_config::Service;

use super::Row;
use crate::flow::hash::fold;

/// Whose address a service is reached by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An address of the cluster.
    Cluster,
    /// A load balancer's.
    LoadBalancer,
    /// One that somebody routes here.
    External,
    /// The node's own.
    NodePort,
}

impl Kind {
    /// In words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Cluster => "cluster address",
            Self::LoadBalancer => "load balancer address",
            Self::External => "external address",
            Self::NodePort => "node port",
        }
    }
}

/// A port of a service, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) service: u32,
    pub(super) port: u16,
    pub(super) kind: Kind,
}

/// Nobody but configuration enters keys, so they need no protection from tenants.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = fold(self.0 ^ word ^ 0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9);
    }

    fn write_u128(&mut self, word: u128) {
        self.write_u64(word as u64);
        self.write_u64((word >> 64) as u64);
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fold>>;

/// An address as a number: IPv4 ones are mapped (RFC 4291 section 2.5.5.2), which no packet has as IPv6.
#[inline]
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[inline]
fn port(protocol: u8, port: u16) -> u64 {
    u64::from(protocol) << 16 | u64::from(port)
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    fronts: Map<(u128, u64), Place>,
    /// Addresses of services, and whether all of an address is one's.
    addresses: Map<u128, bool>,
    node_ports: Map<u64, Place>,
    /// The node's addresses, as they were given.
    own: Box<[IpAddr]>,
}

impl Index {
    pub(super) fn build(rows: &[Arc<Row>], own: &[IpAddr]) -> Self {
        let mut index = Self { own: own.into(), ..Self::default() };
        for (number_of, row) in (0..).zip(rows) {
            let service = row.service();
            let lists = [
                (Kind::Cluster, &service.cluster_ips),
                (Kind::LoadBalancer, &service.load_balancer_ips),
                (Kind::External, &service.external_ips),
            ];
            for (kind, address) in
                lists.into_iter().flat_map(|(kind, list)| list.iter().map(move |it| (kind, *it)))
            {
                // What somebody else routes here may have other ports for other purposes.
                *index.addresses.entry(number(address)).or_default() |= kind != Kind::External;
                for (at, its) in (0..).zip(&service.ports) {
                    let key = (number(address), port(its.protocol.number(), its.port));
                    index.fronts.entry(key).or_insert(Place { service: number_of, port: at, kind });
                }
            }
            for (at, its) in (0..).zip(&service.ports) {
                if let Some(node_port) = its.node_port {
                    let place = Place { service: number_of, port: at, kind: Kind::NodePort };
                    index.node_ports.entry(port(its.protocol.number(), node_port)).or_insert(place);
                }
            }
        }
        index
    }

    /// True when the index of `after` is this one, which is that of `before`.
    pub(super) fn is_of(&self, before: &[Arc<Row>], after: &[Arc<Row>], own: &[IpAddr]) -> bool {
        let same = |(before, after): (&Arc<Row>, &Arc<Row>)| {
            Arc::ptr_eq(before, after) || stand_alike(before.service(), after.service())
        };
        *self.own == *own && before.len() == after.len() && before.iter().zip(after).all(same)
    }

    #[inline]
    pub(super) fn get(&self, address: IpAddr, protocol: u8, number_of: u16) -> Option<Place> {
        let front = self.fronts.get(&(number(address), port(protocol, number_of)));
        front
            .or_else(|| self.node_ports.get(&port(protocol, number_of)).filter(|_| self.is_node(address)))
            .copied()
    }

    /// True when it is an address of a service, all of it.
    #[inline]
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.get(&number(address)) == Some(&true)
    }

    /// True when some ports of it are of services.
    #[inline]
    pub(super) fn concerns(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&number(address)) || self.is_node(address)
    }

    /// True when it is an address of the node, and there are node ports.
    #[inline]
    pub(super) fn is_node(&self, address: IpAddr) -> bool {
        !self.node_ports.is_empty() && self.own.contains(&address)
    }
}

/// True when two services have the same addresses and ports.
fn stand_alike(one: &Service, other: &Service) -> bool {
    one.name == other.name
        && one.cluster_ips == other.cluster_ips
        && one.load_balancer_ips == other.load_balancer_ips
        && one.external_ips == other.external_ips
        && one.ports == other.ports
}
